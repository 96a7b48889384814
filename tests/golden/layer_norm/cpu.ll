; kernel r_32_256_256_256_256_6fd2cc
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @r_32_256_256_256_256_6fd2cc(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %slot2 = getelementptr i8, ptr %buffers, i64 16
  %p2 = load ptr, ptr %slot2, align 8, !invariant.load !0
  %slot3 = getelementptr i8, ptr %buffers, i64 24
  %p3 = load ptr, ptr %slot3, align 8, !invariant.load !0
  %r23 = alloca <16 x float>
  %r24 = alloca <16 x float>
  %r25 = alloca <16 x float>
  %r26 = alloca <16 x float>
  %r67 = alloca <16 x float>
  %r68 = alloca <16 x float>
  %r69 = alloca <16 x float>
  %r70 = alloca <16 x float>
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  %t0 = getelementptr i8, ptr %scratch, i64 0
  %t1 = mul i64 %grid, 512
  %t2 = icmp slt i64 0, 2
  br i1 %t2, label %loop20.pre, label %loop20.end
loop20.pre:
  br label %loop20
loop20:
  %v20 = phi i64 [ 0, %loop20.pre ], [ %v20.next, %loop20.latch ]
  %t3 = mul i64 %v20, 256
  %t4 = add i64 %t1, %t3
  store <16 x float> splat (float 0x0000000000000000), ptr %r23
  store <16 x float> splat (float 0x0000000000000000), ptr %r24
  store <16 x float> splat (float 0x0000000000000000), ptr %r25
  store <16 x float> splat (float 0x0000000000000000), ptr %r26
  %t5 = icmp slt i64 0, 4
  br i1 %t5, label %loop27.pre, label %loop27.end
loop27.pre:
  br label %loop27
loop27:
  %v27 = phi i64 [ 0, %loop27.pre ], [ %v27.next, %loop27.latch ]
  %t6 = mul i64 %v27, 64
  %t7 = add i64 %t4, %t6
  %t8 = mul i64 %grid, 512
  %t9 = getelementptr float, ptr %p1, i64 %t8
  %t10 = mul i64 %v20, 256
  %t11 = getelementptr float, ptr %t9, i64 %t10
  %t12 = mul i64 %v27, 64
  %t13 = getelementptr float, ptr %t11, i64 %t12
  %t14 = load <16 x float>, ptr %t13, align 4, !alias.scope !6, !noalias !7
  %t15 = load <16 x float>, ptr %r23
  %t16 = fadd contract <16 x float> %t14, %t15
  store <16 x float> %t16, ptr %r23
  %t17 = add i64 %t7, 16
  %t18 = getelementptr i8, ptr %t13, i64 64
  %t19 = load <16 x float>, ptr %t18, align 4, !alias.scope !6, !noalias !7
  %t20 = load <16 x float>, ptr %r24
  %t21 = fadd contract <16 x float> %t19, %t20
  store <16 x float> %t21, ptr %r24
  %t22 = add i64 %t7, 32
  %t23 = getelementptr i8, ptr %t13, i64 128
  %t24 = load <16 x float>, ptr %t23, align 4, !alias.scope !6, !noalias !7
  %t25 = load <16 x float>, ptr %r25
  %t26 = fadd contract <16 x float> %t24, %t25
  store <16 x float> %t26, ptr %r25
  %t27 = add i64 %t7, 48
  %t28 = getelementptr i8, ptr %t13, i64 192
  %t29 = load <16 x float>, ptr %t28, align 4, !alias.scope !6, !noalias !7
  %t30 = load <16 x float>, ptr %r26
  %t31 = fadd contract <16 x float> %t29, %t30
  store <16 x float> %t31, ptr %r26
  br label %loop27.latch
loop27.latch:
  %v27.next = add nsw i64 %v27, 1
  %v27.more = icmp slt i64 %v27.next, 4
  br i1 %v27.more, label %loop27, label %loop27.end
loop27.end:
  %t32 = load <16 x float>, ptr %r23
  %t33 = load <16 x float>, ptr %r24
  %t34 = load <16 x float>, ptr %r25
  %t35 = load <16 x float>, ptr %r26
  %t36 = fadd contract <16 x float> %t32, %t33
  %t37 = fadd contract <16 x float> %t34, %t35
  %t38 = fadd contract <16 x float> %t36, %t37
  %t39 = shufflevector <16 x float> %t38, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %t40 = shufflevector <16 x float> %t38, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %t41 = fadd contract <8 x float> %t39, %t40
  %t42 = shufflevector <8 x float> %t41, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %t43 = shufflevector <8 x float> %t41, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %t44 = fadd contract <4 x float> %t42, %t43
  %t45 = shufflevector <4 x float> %t44, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %t46 = shufflevector <4 x float> %t44, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %t47 = fadd contract <2 x float> %t45, %t46
  %t48 = shufflevector <2 x float> %t47, <2 x float> poison, <1 x i32> <i32 0>
  %t49 = shufflevector <2 x float> %t47, <2 x float> poison, <1 x i32> <i32 1>
  %t50 = extractelement <1 x float> %t48, i32 0
  %t51 = extractelement <1 x float> %t49, i32 0
  %t52 = fadd contract float %t50, %t51
  %t53 = fmul contract float %t52, 0x3f70000000000000
  %t54 = insertelement <16 x float> poison, float %t53, i32 0
  %t55 = shufflevector <16 x float> %t54, <16 x float> poison, <16 x i32> zeroinitializer
  %t56 = icmp slt i64 0, 16
  br i1 %t56, label %loop60.pre, label %loop60.end
loop60.pre:
  br label %loop60
loop60:
  %v60 = phi i64 [ 0, %loop60.pre ], [ %v60.next, %loop60.latch ]
  %t57 = mul i64 %v60, 16
  %t58 = add i64 %t4, %t57
  %t59 = mul i64 %grid, 512
  %t60 = getelementptr float, ptr %p1, i64 %t59
  %t61 = mul i64 %v20, 256
  %t62 = getelementptr float, ptr %t60, i64 %t61
  %t63 = mul i64 %v60, 16
  %t64 = getelementptr float, ptr %t62, i64 %t63
  %t65 = load <16 x float>, ptr %t64, align 4, !alias.scope !6, !noalias !7
  %t66 = fsub contract <16 x float> %t65, %t55
  %t67 = getelementptr float, ptr %t0, i64 %t63
  store <16 x float> %t66, ptr %t67, align 4, !alias.scope !15, !noalias !16
  br label %loop60.latch
loop60.latch:
  %v60.next = add nsw i64 %v60, 1
  %v60.more = icmp slt i64 %v60.next, 16
  br i1 %v60.more, label %loop60, label %loop60.end
loop60.end:
  store <16 x float> splat (float 0x0000000000000000), ptr %r67
  store <16 x float> splat (float 0x0000000000000000), ptr %r68
  store <16 x float> splat (float 0x0000000000000000), ptr %r69
  store <16 x float> splat (float 0x0000000000000000), ptr %r70
  %t68 = icmp slt i64 0, 4
  br i1 %t68, label %loop71.pre, label %loop71.end
loop71.pre:
  br label %loop71
loop71:
  %v71 = phi i64 [ 0, %loop71.pre ], [ %v71.next, %loop71.latch ]
  %t69 = mul i64 %v71, 64
  %t70 = mul i64 %v71, 64
  %t71 = getelementptr float, ptr %t0, i64 %t70
  %t72 = load <16 x float>, ptr %t71, align 4, !alias.scope !15, !noalias !16
  %t73 = load <16 x float>, ptr %r67
  %t74 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t72, <16 x float> %t72, <16 x float> %t73)
  store <16 x float> %t74, ptr %r67
  %t75 = add i64 %t69, 16
  %t76 = getelementptr i8, ptr %t71, i64 64
  %t77 = load <16 x float>, ptr %t76, align 4, !alias.scope !15, !noalias !16
  %t78 = load <16 x float>, ptr %r68
  %t79 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t77, <16 x float> %t77, <16 x float> %t78)
  store <16 x float> %t79, ptr %r68
  %t80 = add i64 %t69, 32
  %t81 = getelementptr i8, ptr %t71, i64 128
  %t82 = load <16 x float>, ptr %t81, align 4, !alias.scope !15, !noalias !16
  %t83 = load <16 x float>, ptr %r69
  %t84 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t82, <16 x float> %t82, <16 x float> %t83)
  store <16 x float> %t84, ptr %r69
  %t85 = add i64 %t69, 48
  %t86 = getelementptr i8, ptr %t71, i64 192
  %t87 = load <16 x float>, ptr %t86, align 4, !alias.scope !15, !noalias !16
  %t88 = load <16 x float>, ptr %r70
  %t89 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t87, <16 x float> %t87, <16 x float> %t88)
  store <16 x float> %t89, ptr %r70
  br label %loop71.latch
loop71.latch:
  %v71.next = add nsw i64 %v71, 1
  %v71.more = icmp slt i64 %v71.next, 4
  br i1 %v71.more, label %loop71, label %loop71.end
loop71.end:
  %t90 = load <16 x float>, ptr %r67
  %t91 = load <16 x float>, ptr %r68
  %t92 = load <16 x float>, ptr %r69
  %t93 = load <16 x float>, ptr %r70
  %t94 = fadd contract <16 x float> %t90, %t91
  %t95 = fadd contract <16 x float> %t92, %t93
  %t96 = fadd contract <16 x float> %t94, %t95
  %t97 = shufflevector <16 x float> %t96, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %t98 = shufflevector <16 x float> %t96, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %t99 = fadd contract <8 x float> %t97, %t98
  %t100 = shufflevector <8 x float> %t99, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %t101 = shufflevector <8 x float> %t99, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %t102 = fadd contract <4 x float> %t100, %t101
  %t103 = shufflevector <4 x float> %t102, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %t104 = shufflevector <4 x float> %t102, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %t105 = fadd contract <2 x float> %t103, %t104
  %t106 = shufflevector <2 x float> %t105, <2 x float> poison, <1 x i32> <i32 0>
  %t107 = shufflevector <2 x float> %t105, <2 x float> poison, <1 x i32> <i32 1>
  %t108 = extractelement <1 x float> %t106, i32 0
  %t109 = extractelement <1 x float> %t107, i32 0
  %t110 = fadd contract float %t108, %t109
  %t111 = fmul contract float %t110, 0x3f70000000000000
  %t112 = fadd contract float %t111, 0x3ee4f8b580000000
  %t113 = call float @llvm.sqrt.f32(float %t112)
  %t114 = fdiv float 0x3ff0000000000000, %t113
  %t115 = insertelement <16 x float> poison, float %t114, i32 0
  %t116 = shufflevector <16 x float> %t115, <16 x float> poison, <16 x i32> zeroinitializer
  %t117 = icmp slt i64 0, 16
  br i1 %t117, label %loop106.pre, label %loop106.end
loop106.pre:
  br label %loop106
loop106:
  %v106 = phi i64 [ 0, %loop106.pre ], [ %v106.next, %loop106.latch ]
  %t118 = mul i64 %v106, 16
  %t119 = mul i64 %v106, 16
  %t120 = getelementptr float, ptr %t0, i64 %t119
  %t121 = load <16 x float>, ptr %t120, align 4, !alias.scope !15, !noalias !16
  %t122 = fmul contract <16 x float> %t121, %t116
  %t123 = getelementptr float, ptr %p2, i64 %t119
  %t124 = load <16 x float>, ptr %t123, align 4, !alias.scope !9, !noalias !10
  %t125 = fmul contract <16 x float> %t122, %t124
  %t126 = getelementptr float, ptr %p3, i64 %t119
  %t127 = load <16 x float>, ptr %t126, align 4, !alias.scope !12, !noalias !13
  %t128 = fadd contract <16 x float> %t125, %t127
  %t129 = add i64 %t4, %t118
  %t130 = mul i64 %grid, 512
  %t131 = getelementptr float, ptr %p0, i64 %t130
  %t132 = mul i64 %v20, 256
  %t133 = getelementptr float, ptr %t131, i64 %t132
  %t134 = getelementptr float, ptr %t133, i64 %t119
  store <16 x float> %t128, ptr %t134, align 4, !alias.scope !3, !noalias !4
  br label %loop106.latch
loop106.latch:
  %v106.next = add nsw i64 %v106, 1
  %v106.more = icmp slt i64 %v106.next, 16
  br i1 %v106.more, label %loop106, label %loop106.end
loop106.end:
  br label %loop20.latch
loop20.latch:
  %v20.next = add nsw i64 %v20, 1
  %v20.more = icmp slt i64 %v20.next, 2
  br i1 %v20.more, label %loop20, label %loop20.end
loop20.end:
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
