; kernel r_48_64_026f83
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @r_48_64_026f83(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %r10 = alloca <16 x float>
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  %t0 = icmp slt i64 0, 3
  br i1 %t0, label %loop9.pre, label %loop9.end
loop9.pre:
  br label %loop9
loop9:
  %v9 = phi i64 [ 0, %loop9.pre ], [ %v9.next, %loop9.latch ]
  store <16 x float> splat (float 0x0000000000000000), ptr %r10
  %t1 = mul i64 %v9, 16
  %t2 = icmp slt i64 0, 64
  br i1 %t2, label %loop12.pre, label %loop12.end
loop12.pre:
  br label %loop12
loop12:
  %v12 = phi i64 [ 0, %loop12.pre ], [ %v12.next, %loop12.latch ]
  %t3 = mul i64 %v12, 48
  %t4 = add i64 %t1, %t3
  %t5 = mul i64 %v9, 16
  %t6 = getelementptr float, ptr %p1, i64 %t5
  %t7 = mul i64 %v12, 48
  %t8 = getelementptr float, ptr %t6, i64 %t7
  %t9 = load <16 x float>, ptr %t8, align 4, !alias.scope !6, !noalias !7
  %t10 = load <16 x float>, ptr %r10
  %t11 = fadd contract <16 x float> %t9, %t10
  store <16 x float> %t11, ptr %r10
  br label %loop12.latch
loop12.latch:
  %v12.next = add nsw i64 %v12, 1
  %v12.more = icmp slt i64 %v12.next, 64
  br i1 %v12.more, label %loop12, label %loop12.end
loop12.end:
  %t12 = load <16 x float>, ptr %r10
  %t13 = mul i64 %v9, 16
  %t14 = getelementptr float, ptr %p0, i64 %t13
  store <16 x float> %t12, ptr %t14, align 4, !alias.scope !3, !noalias !4
  br label %loop9.latch
loop9.latch:
  %v9.next = add nsw i64 %v9, 1
  %v9.more = icmp slt i64 %v9.next, 3
  br i1 %v9.more, label %loop9, label %loop9.end
loop9.end:
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
