; kernel e_3_1e502f
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @e_3_1e502f(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  %t0 = load float, ptr %p1, align 4, !alias.scope !6, !noalias !7
  store float %t0, ptr %p0, align 4, !alias.scope !3, !noalias !4
  %t1 = getelementptr i8, ptr %p1, i64 4
  %t2 = load float, ptr %t1, align 4, !alias.scope !6, !noalias !7
  %t3 = fmul contract float 0x4000000000000000, %t2
  %t4 = getelementptr i8, ptr %p0, i64 4
  store float %t3, ptr %t4, align 4, !alias.scope !3, !noalias !4
  %t5 = getelementptr i8, ptr %p1, i64 8
  %t6 = load float, ptr %t5, align 4, !alias.scope !6, !noalias !7
  %t7 = fmul contract float 0x4008000000000000, %t6
  %t8 = getelementptr i8, ptr %p0, i64 8
  store float %t7, ptr %t8, align 4, !alias.scope !3, !noalias !4
  br label %chunk.latch
chunk.latch:
  %grid.next = add nsw i64 %grid, 1
  %more = icmp slt i64 %grid.next, %end
  br i1 %more, label %chunk, label %done
done:
  ret void
}

attributes #0 = { nofree norecurse nosync nounwind "target-features"="+avx,+avx2,+avx512bf16,+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vbmi,+avx512vl,+avx512vnni,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sahf,+sse3,+sse4.1,+sse4.2,+ssse3" "prefer-vector-width"="512" }

!0 = !{}
!1 = distinct !{!1}
!2 = distinct !{!2, !1}
!5 = distinct !{!5, !1}
!8 = distinct !{!8, !1}
!3 = !{!2}
!4 = !{!5, !8}
!6 = !{!5}
!7 = !{!2, !8}
!9 = !{!8}
!10 = !{!2, !5}
