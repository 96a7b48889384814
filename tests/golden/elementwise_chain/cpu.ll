; kernel e_64_100_446b5e
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @e_64_100_446b5e(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %slot2 = getelementptr i8, ptr %buffers, i64 16
  %p2 = load ptr, ptr %slot2, align 8, !invariant.load !0
  %slot3 = getelementptr i8, ptr %buffers, i64 24
  %p3 = load ptr, ptr %slot3, align 8, !invariant.load !0
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  %t0 = mul i64 %grid, 100
  %t1 = icmp slt i64 0, 7
  br i1 %t1, label %loop16.pre, label %loop16.end
loop16.pre:
  br label %loop16
loop16:
  %v16 = phi i64 [ 0, %loop16.pre ], [ %v16.next, %loop16.latch ]
  %t2 = mul i64 %v16, 16
  %t3 = add i64 %t0, %t2
  %t4 = mul i64 %v16, -16
  %t5 = add i64 %t4, 100
  %t6 = call i64 @llvm.smax.i64(i64 %t5, i64 -1)
  %t7 = call i64 @llvm.smin.i64(i64 16, i64 %t6)
  %t8 = trunc i64 %t7 to i32
  %t9 = insertelement <16 x i32> poison, i32 %t8, i32 0
  %t10 = shufflevector <16 x i32> %t9, <16 x i32> poison, <16 x i32> zeroinitializer
  %t11 = icmp slt <16 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>, %t10
  %t12 = mul i64 %grid, 100
  %t13 = getelementptr float, ptr %p1, i64 %t12
  %t14 = mul i64 %v16, 16
  %t15 = getelementptr float, ptr %t13, i64 %t14
  %t16 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr %t15, i32 4, <16 x i1> %t11, <16 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t17 = fmul contract <16 x float> %t16, splat (float 0x3fe0000000000000)
  %t18 = getelementptr float, ptr %p2, i64 %t12
  %t19 = getelementptr float, ptr %t18, i64 %t14
  %t20 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr %t19, i32 4, <16 x i1> %t11, <16 x float> zeroinitializer), !alias.scope !9, !noalias !10
  %t21 = fadd contract <16 x float> %t17, %t20
  %t22 = getelementptr float, ptr %p3, i64 %t14
  %t23 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr %t22, i32 4, <16 x i1> %t11, <16 x float> zeroinitializer), !alias.scope !12, !noalias !13
  %t24 = fsub contract <16 x float> %t21, %t23
  %t25 = fcmp ogt <16 x float> splat (float 0x0000000000000000), %t24
  %t26 = select <16 x i1> %t25, <16 x float> splat (float 0x0000000000000000), <16 x float> %t24
  %t27 = getelementptr float, ptr %p0, i64 %t12
  %t28 = getelementptr float, ptr %t27, i64 %t14
  call void @llvm.masked.store.v16f32.p0(<16 x float> %t26, ptr %t28, i32 4, <16 x i1> %t11), !alias.scope !3, !noalias !4
  br label %loop16.latch
loop16.latch:
  %v16.next = add nsw i64 %v16, 1
  %v16.more = icmp slt i64 %v16.next, 7
  br i1 %v16.more, label %loop16, label %loop16.end
loop16.end:
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
!14 = distinct !{!14, !1}
!3 = !{!2}
!4 = !{!5, !8, !11, !14}
!6 = !{!5}
!7 = !{!2, !14}
!9 = !{!8}
!10 = !{!2, !14}
!12 = !{!11}
!13 = !{!2, !14}
!15 = !{!14}
!16 = !{!2, !5, !8, !11}
