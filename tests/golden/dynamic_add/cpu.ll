; kernel e_n_16_d16c58
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @e_n_16_d16c58(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %slot2 = getelementptr i8, ptr %buffers, i64 16
  %p2 = load ptr, ptr %slot2, align 8, !invariant.load !0
  %varslot0 = getelementptr i8, ptr %vars, i64 0
  %var0 = load i64, ptr %varslot0, align 8, !invariant.load !0
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  %t0 = mul i64 %grid, -169
  %t1 = add i64 %t0, %var0
  %t2 = call i64 @llvm.smin.i64(i64 169, i64 %t1)
  %t3 = mul i64 %grid, 2704
  %t4 = load <16 x float>, ptr %p2, align 4, !alias.scope !9, !noalias !10
  %t5 = icmp slt i64 0, %t2
  br i1 %t5, label %loop15.pre, label %loop15.end
loop15.pre:
  br label %loop15
loop15:
  %v15 = phi i64 [ 0, %loop15.pre ], [ %v15.next, %loop15.latch ]
  %t6 = mul i64 %v15, 16
  %t7 = add i64 %t3, %t6
  %t8 = mul i64 %grid, 2704
  %t9 = getelementptr float, ptr %p1, i64 %t8
  %t10 = mul i64 %v15, 16
  %t11 = getelementptr float, ptr %t9, i64 %t10
  %t12 = load <16 x float>, ptr %t11, align 4, !alias.scope !6, !noalias !7
  %t13 = fadd contract <16 x float> %t12, %t4
  %t14 = getelementptr float, ptr %p0, i64 %t8
  %t15 = getelementptr float, ptr %t14, i64 %t10
  store <16 x float> %t13, ptr %t15, align 4, !alias.scope !3, !noalias !4
  br label %loop15.latch
loop15.latch:
  %v15.next = add nsw i64 %v15, 1
  %v15.more = icmp slt i64 %v15.next, %t2
  br i1 %v15.more, label %loop15, label %loop15.end
loop15.end:
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
!11 = distinct !{!11, !1}
!3 = !{!2}
!4 = !{!5, !8, !11}
!6 = !{!5}
!7 = !{!2, !11}
!9 = !{!8}
!10 = !{!2, !11}
!12 = !{!11}
!13 = !{!2, !5, !8}
