; kernel c_2_4_4_3_3_fcfc97
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @c_2_4_4_3_3_fcfc97(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %slot2 = getelementptr i8, ptr %buffers, i64 16
  %p2 = load ptr, ptr %slot2, align 8, !invariant.load !0
  %slot3 = getelementptr i8, ptr %buffers, i64 24
  %p3 = load ptr, ptr %slot3, align 8, !invariant.load !0
  %r17 = alloca <4 x float>
  %r18 = alloca <4 x float>
  %r19 = alloca <4 x float>
  %r20 = alloca <4 x float>
  %r21 = alloca <4 x float>
  %r22 = alloca <4 x float>
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  store <4 x float> splat (float 0x0000000000000000), ptr %r17
  store <4 x float> splat (float 0x0000000000000000), ptr %r18
  store <4 x float> splat (float 0x0000000000000000), ptr %r19
  store <4 x float> splat (float 0x0000000000000000), ptr %r20
  store <4 x float> splat (float 0x0000000000000000), ptr %r21
  store <4 x float> splat (float 0x0000000000000000), ptr %r22
  %t0 = mul i64 %grid, -1
  %t1 = add i64 %t0, 1
  %t2 = call i64 @llvm.smax.i64(i64 0, i64 %t1)
  %t3 = mul i64 %t2, -1
  %t4 = add i64 %t0, 5
  %t5 = call i64 @llvm.smin.i64(i64 3, i64 %t4)
  %t6 = add i64 %t3, %t5
  %t7 = mul i64 %grid, 4
  %t8 = mul i64 %t2, 4
  %t9 = add i64 %t7, %t8
  %t10 = call i64 @llvm.smax.i64(i64 0, i64 -1)
  %t11 = call i64 @llvm.smin.i64(i64 4, i64 %t10)
  %t12 = trunc i64 %t11 to i32
  %t13 = insertelement <4 x i32> poison, i32 %t12, i32 0
  %t14 = shufflevector <4 x i32> %t13, <4 x i32> poison, <4 x i32> zeroinitializer
  %t15 = icmp slt <4 x i32> %t14, <i32 0, i32 1, i32 2, i32 3>
  %t16 = mul i64 %t2, 3
  %t17 = call i64 @llvm.smax.i64(i64 3, i64 -1)
  %t18 = call i64 @llvm.smin.i64(i64 4, i64 %t17)
  %t19 = trunc i64 %t18 to i32
  %t20 = insertelement <4 x i32> poison, i32 %t19, i32 0
  %t21 = shufflevector <4 x i32> %t20, <4 x i32> poison, <4 x i32> zeroinitializer
  %t22 = icmp slt <4 x i32> <i32 0, i32 1, i32 2, i32 3>, %t21
  %t23 = icmp slt i64 0, %t6
  br i1 %t23, label %loop48.pre, label %loop48.end
loop48.pre:
  br label %loop48
loop48:
  %v48 = phi i64 [ 0, %loop48.pre ], [ %v48.next, %loop48.latch ]
  %t24 = mul i64 %v48, 4
  %t25 = add i64 %t9, %t24
  %t26 = add i64 %t25, -5
  %t27 = mul i64 %grid, 4
  %t28 = getelementptr float, ptr %p1, i64 %t27
  %t29 = mul i64 %t2, 4
  %t30 = getelementptr float, ptr %t28, i64 %t29
  %t31 = mul i64 %v48, 4
  %t32 = getelementptr float, ptr %t30, i64 %t31
  %t33 = getelementptr i8, ptr %t32, i64 -20
  %t34 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t33, i32 4, <4 x i1> %t15, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t35 = mul i64 %v48, 3
  %t36 = add i64 %t16, %t35
  %t37 = mul i64 %t2, 3
  %t38 = getelementptr float, ptr %p2, i64 %t37
  %t39 = mul i64 %v48, 3
  %t40 = getelementptr float, ptr %t38, i64 %t39
  %t41 = load float, ptr %t40, align 4, !alias.scope !9, !noalias !10
  %t42 = insertelement <4 x float> poison, float %t41, i32 0
  %t43 = shufflevector <4 x float> %t42, <4 x float> poison, <4 x i32> zeroinitializer
  %t44 = load <4 x float>, ptr %r17
  %t45 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t34, <4 x float> %t43, <4 x float> %t44)
  store <4 x float> %t45, ptr %r17
  %t46 = add i64 %t36, 9
  %t47 = getelementptr i8, ptr %t40, i64 36
  %t48 = load float, ptr %t47, align 4, !alias.scope !9, !noalias !10
  %t49 = insertelement <4 x float> poison, float %t48, i32 0
  %t50 = shufflevector <4 x float> %t49, <4 x float> poison, <4 x i32> zeroinitializer
  %t51 = load <4 x float>, ptr %r20
  %t52 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t34, <4 x float> %t50, <4 x float> %t51)
  store <4 x float> %t52, ptr %r20
  %t53 = add i64 %t25, -4
  %t54 = getelementptr i8, ptr %t32, i64 -16
  %t55 = load <4 x float>, ptr %t54, align 4, !alias.scope !6, !noalias !7
  %t56 = add i64 %t36, 1
  %t57 = getelementptr i8, ptr %t40, i64 4
  %t58 = load float, ptr %t57, align 4, !alias.scope !9, !noalias !10
  %t59 = insertelement <4 x float> poison, float %t58, i32 0
  %t60 = shufflevector <4 x float> %t59, <4 x float> poison, <4 x i32> zeroinitializer
  %t61 = load <4 x float>, ptr %r18
  %t62 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t55, <4 x float> %t60, <4 x float> %t61)
  store <4 x float> %t62, ptr %r18
  %t63 = add i64 %t36, 10
  %t64 = getelementptr i8, ptr %t40, i64 40
  %t65 = load float, ptr %t64, align 4, !alias.scope !9, !noalias !10
  %t66 = insertelement <4 x float> poison, float %t65, i32 0
  %t67 = shufflevector <4 x float> %t66, <4 x float> poison, <4 x i32> zeroinitializer
  %t68 = load <4 x float>, ptr %r21
  %t69 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t55, <4 x float> %t67, <4 x float> %t68)
  store <4 x float> %t69, ptr %r21
  %t70 = add i64 %t25, -3
  %t71 = getelementptr i8, ptr %t32, i64 -12
  %t72 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t71, i32 4, <4 x i1> %t22, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t73 = add i64 %t36, 2
  %t74 = getelementptr i8, ptr %t40, i64 8
  %t75 = load float, ptr %t74, align 4, !alias.scope !9, !noalias !10
  %t76 = insertelement <4 x float> poison, float %t75, i32 0
  %t77 = shufflevector <4 x float> %t76, <4 x float> poison, <4 x i32> zeroinitializer
  %t78 = load <4 x float>, ptr %r19
  %t79 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t72, <4 x float> %t77, <4 x float> %t78)
  store <4 x float> %t79, ptr %r19
  %t80 = add i64 %t36, 11
  %t81 = getelementptr i8, ptr %t40, i64 44
  %t82 = load float, ptr %t81, align 4, !alias.scope !9, !noalias !10
  %t83 = insertelement <4 x float> poison, float %t82, i32 0
  %t84 = shufflevector <4 x float> %t83, <4 x float> poison, <4 x i32> zeroinitializer
  %t85 = load <4 x float>, ptr %r22
  %t86 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t72, <4 x float> %t84, <4 x float> %t85)
  store <4 x float> %t86, ptr %r22
  br label %loop48.latch
loop48.latch:
  %v48.next = add nsw i64 %v48, 1
  %v48.more = icmp slt i64 %v48.next, %t6
  br i1 %v48.more, label %loop48, label %loop48.end
loop48.end:
  %t87 = load <4 x float>, ptr %r17
  %t88 = load <4 x float>, ptr %r18
  %t89 = load <4 x float>, ptr %r19
  %t90 = fadd contract <4 x float> %t87, %t88
  %t91 = fadd contract <4 x float> %t90, %t89
  %t92 = load <4 x float>, ptr %r20
  %t93 = load <4 x float>, ptr %r21
  %t94 = load <4 x float>, ptr %r22
  %t95 = fadd contract <4 x float> %t92, %t93
  %t96 = fadd contract <4 x float> %t95, %t94
  %t97 = load float, ptr %p3, align 4, !alias.scope !12, !noalias !13
  %t98 = insertelement <4 x float> poison, float %t97, i32 0
  %t99 = shufflevector <4 x float> %t98, <4 x float> poison, <4 x i32> zeroinitializer
  %t100 = fadd contract <4 x float> %t91, %t99
  %t101 = fcmp ogt <4 x float> splat (float 0x0000000000000000), %t100
  %t102 = select <4 x i1> %t101, <4 x float> splat (float 0x0000000000000000), <4 x float> %t100
  %t103 = mul i64 %grid, 4
  %t104 = getelementptr float, ptr %p0, i64 %t103
  store <4 x float> %t102, ptr %t104, align 4, !alias.scope !3, !noalias !4
  %t105 = getelementptr i8, ptr %p3, i64 4
  %t106 = load float, ptr %t105, align 4, !alias.scope !12, !noalias !13
  %t107 = insertelement <4 x float> poison, float %t106, i32 0
  %t108 = shufflevector <4 x float> %t107, <4 x float> poison, <4 x i32> zeroinitializer
  %t109 = fadd contract <4 x float> %t96, %t108
  %t110 = fcmp ogt <4 x float> splat (float 0x0000000000000000), %t109
  %t111 = select <4 x i1> %t110, <4 x float> splat (float 0x0000000000000000), <4 x float> %t109
  %t112 = add i64 %t7, 16
  %t113 = getelementptr i8, ptr %t104, i64 64
  store <4 x float> %t111, ptr %t113, align 4, !alias.scope !3, !noalias !4
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
