; kernel r_64_128_128_128_128_15b0f8
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @r_64_128_128_128_128_15b0f8(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %r52 = alloca <16 x float>
  %r53 = alloca <16 x float>
  %r54 = alloca <16 x float>
  %r55 = alloca <16 x float>
  %r118 = alloca <16 x float>
  %r119 = alloca <16 x float>
  %r120 = alloca <16 x float>
  %r121 = alloca <16 x float>
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  %t0 = mul i64 %grid, -5
  %t1 = add i64 %t0, 64
  %t2 = call i64 @llvm.smin.i64(i64 5, i64 %t1)
  %t3 = getelementptr i8, ptr %scratch, i64 0
  %t4 = mul i64 %grid, 640
  %t5 = icmp slt i64 0, %t2
  br i1 %t5, label %loop49.pre, label %loop49.end
loop49.pre:
  br label %loop49
loop49:
  %v49 = phi i64 [ 0, %loop49.pre ], [ %v49.next, %loop49.latch ]
  %t6 = mul i64 %v49, 128
  %t7 = add i64 %t4, %t6
  store <16 x float> splat (float 0xfff0000000000000), ptr %r52
  store <16 x float> splat (float 0xfff0000000000000), ptr %r53
  store <16 x float> splat (float 0xfff0000000000000), ptr %r54
  store <16 x float> splat (float 0xfff0000000000000), ptr %r55
  %t8 = icmp slt i64 0, 2
  br i1 %t8, label %loop56.pre, label %loop56.end
loop56.pre:
  br label %loop56
loop56:
  %v56 = phi i64 [ 0, %loop56.pre ], [ %v56.next, %loop56.latch ]
  %t9 = mul i64 %v56, 64
  %t10 = add i64 %t7, %t9
  %t11 = mul i64 %grid, 640
  %t12 = getelementptr float, ptr %p1, i64 %t11
  %t13 = mul i64 %v49, 128
  %t14 = getelementptr float, ptr %t12, i64 %t13
  %t15 = mul i64 %v56, 64
  %t16 = getelementptr float, ptr %t14, i64 %t15
  %t17 = load <16 x float>, ptr %t16, align 4, !alias.scope !6, !noalias !7
  %t18 = load <16 x float>, ptr %r52
  %t19 = fcmp ogt <16 x float> %t17, %t18
  %t20 = select <16 x i1> %t19, <16 x float> %t17, <16 x float> %t18
  %t21 = fcmp uno <16 x float> %t17, %t17
  %t22 = select <16 x i1> %t21, <16 x float> %t17, <16 x float> %t20
  store <16 x float> %t22, ptr %r52
  %t23 = add i64 %t10, 16
  %t24 = getelementptr i8, ptr %t16, i64 64
  %t25 = load <16 x float>, ptr %t24, align 4, !alias.scope !6, !noalias !7
  %t26 = load <16 x float>, ptr %r53
  %t27 = fcmp ogt <16 x float> %t25, %t26
  %t28 = select <16 x i1> %t27, <16 x float> %t25, <16 x float> %t26
  %t29 = fcmp uno <16 x float> %t25, %t25
  %t30 = select <16 x i1> %t29, <16 x float> %t25, <16 x float> %t28
  store <16 x float> %t30, ptr %r53
  %t31 = add i64 %t10, 32
  %t32 = getelementptr i8, ptr %t16, i64 128
  %t33 = load <16 x float>, ptr %t32, align 4, !alias.scope !6, !noalias !7
  %t34 = load <16 x float>, ptr %r54
  %t35 = fcmp ogt <16 x float> %t33, %t34
  %t36 = select <16 x i1> %t35, <16 x float> %t33, <16 x float> %t34
  %t37 = fcmp uno <16 x float> %t33, %t33
  %t38 = select <16 x i1> %t37, <16 x float> %t33, <16 x float> %t36
  store <16 x float> %t38, ptr %r54
  %t39 = add i64 %t10, 48
  %t40 = getelementptr i8, ptr %t16, i64 192
  %t41 = load <16 x float>, ptr %t40, align 4, !alias.scope !6, !noalias !7
  %t42 = load <16 x float>, ptr %r55
  %t43 = fcmp ogt <16 x float> %t41, %t42
  %t44 = select <16 x i1> %t43, <16 x float> %t41, <16 x float> %t42
  %t45 = fcmp uno <16 x float> %t41, %t41
  %t46 = select <16 x i1> %t45, <16 x float> %t41, <16 x float> %t44
  store <16 x float> %t46, ptr %r55
  br label %loop56.latch
loop56.latch:
  %v56.next = add nsw i64 %v56, 1
  %v56.more = icmp slt i64 %v56.next, 2
  br i1 %v56.more, label %loop56, label %loop56.end
loop56.end:
  %t47 = load <16 x float>, ptr %r52
  %t48 = load <16 x float>, ptr %r53
  %t49 = load <16 x float>, ptr %r54
  %t50 = load <16 x float>, ptr %r55
  %t51 = fcmp ogt <16 x float> %t47, %t48
  %t52 = select <16 x i1> %t51, <16 x float> %t47, <16 x float> %t48
  %t53 = fcmp uno <16 x float> %t47, %t47
  %t54 = select <16 x i1> %t53, <16 x float> %t47, <16 x float> %t52
  %t55 = fcmp ogt <16 x float> %t49, %t50
  %t56 = select <16 x i1> %t55, <16 x float> %t49, <16 x float> %t50
  %t57 = fcmp uno <16 x float> %t49, %t49
  %t58 = select <16 x i1> %t57, <16 x float> %t49, <16 x float> %t56
  %t59 = fcmp ogt <16 x float> %t54, %t58
  %t60 = select <16 x i1> %t59, <16 x float> %t54, <16 x float> %t58
  %t61 = fcmp uno <16 x float> %t54, %t54
  %t62 = select <16 x i1> %t61, <16 x float> %t54, <16 x float> %t60
  %t63 = shufflevector <16 x float> %t62, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %t64 = shufflevector <16 x float> %t62, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %t65 = fcmp ogt <8 x float> %t63, %t64
  %t66 = select <8 x i1> %t65, <8 x float> %t63, <8 x float> %t64
  %t67 = fcmp uno <8 x float> %t63, %t63
  %t68 = select <8 x i1> %t67, <8 x float> %t63, <8 x float> %t66
  %t69 = shufflevector <8 x float> %t68, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %t70 = shufflevector <8 x float> %t68, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %t71 = fcmp ogt <4 x float> %t69, %t70
  %t72 = select <4 x i1> %t71, <4 x float> %t69, <4 x float> %t70
  %t73 = fcmp uno <4 x float> %t69, %t69
  %t74 = select <4 x i1> %t73, <4 x float> %t69, <4 x float> %t72
  %t75 = shufflevector <4 x float> %t74, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %t76 = shufflevector <4 x float> %t74, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %t77 = fcmp ogt <2 x float> %t75, %t76
  %t78 = select <2 x i1> %t77, <2 x float> %t75, <2 x float> %t76
  %t79 = fcmp uno <2 x float> %t75, %t75
  %t80 = select <2 x i1> %t79, <2 x float> %t75, <2 x float> %t78
  %t81 = shufflevector <2 x float> %t80, <2 x float> poison, <1 x i32> <i32 0>
  %t82 = shufflevector <2 x float> %t80, <2 x float> poison, <1 x i32> <i32 1>
  %t83 = extractelement <1 x float> %t81, i32 0
  %t84 = extractelement <1 x float> %t82, i32 0
  %t85 = fcmp ogt float %t83, %t84
  %t86 = select i1 %t85, float %t83, float %t84
  %t87 = fcmp uno float %t83, %t83
  %t88 = select i1 %t87, float %t83, float %t86
  %t89 = insertelement <16 x float> poison, float %t88, i32 0
  %t90 = shufflevector <16 x float> %t89, <16 x float> poison, <16 x i32> zeroinitializer
  %t91 = icmp slt i64 0, 8
  br i1 %t91, label %loop88.pre, label %loop88.end
loop88.pre:
  br label %loop88
loop88:
  %v88 = phi i64 [ 0, %loop88.pre ], [ %v88.next, %loop88.latch ]
  %t92 = mul i64 %v88, 16
  %t93 = add i64 %t7, %t92
  %t94 = mul i64 %grid, 640
  %t95 = getelementptr float, ptr %p1, i64 %t94
  %t96 = mul i64 %v49, 128
  %t97 = getelementptr float, ptr %t95, i64 %t96
  %t98 = mul i64 %v88, 16
  %t99 = getelementptr float, ptr %t97, i64 %t98
  %t100 = load <16 x float>, ptr %t99, align 4, !alias.scope !6, !noalias !7
  %t101 = fsub contract <16 x float> %t100, %t90
  %t102 = fmul contract <16 x float> %t101, splat (float 0x3ff7154760000000)
  %t103 = fcmp olt <16 x float> %t102, splat (float 0xc062e00000000000)
  %t104 = select <16 x i1> %t103, <16 x float> splat (float 0xc062e00000000000), <16 x float> %t102
  %t105 = fcmp olt <16 x float> splat (float 0x4060000000000000), %t104
  %t106 = select <16 x i1> %t105, <16 x float> splat (float 0x4060000000000000), <16 x float> %t104
  %t107 = fadd contract <16 x float> %t106, splat (float 0x4168000fc0000000)
  %t108 = fsub contract <16 x float> %t107, splat (float 0x4168000fc0000000)
  %t109 = fsub contract <16 x float> %t106, %t108
  %t110 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0x3f34178de0000000), <16 x float> %t109, <16 x float> splat (float 0x3f65f09600000000))
  %t111 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t110, <16 x float> %t109, <16 x float> splat (float 0x3f93b2dd40000000))
  %t112 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t111, <16 x float> %t109, <16 x float> splat (float 0x3fbc6af7a0000000))
  %t113 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t112, <16 x float> %t109, <16 x float> splat (float 0x3fdebfbdc0000000))
  %t114 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t113, <16 x float> %t109, <16 x float> splat (float 0x3ff62e4300000000))
  %t115 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t109, <16 x float> %t114, <16 x float> splat (float 0x4000000000000000))
  %t116 = bitcast <16 x float> %t107 to <16 x i32>
  %t117 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %t118 = select <16 x i1> %t117, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %t119 = shl <16 x i32> %t116, %t118
  %t120 = select <16 x i1> %t117, <16 x i32> %t119, <16 x i32> splat (i32 0)
  %t121 = call <16 x i32> @llvm.smax.v16i32(<16 x i32> splat (i32 8388608), <16 x i32> %t120)
  %t122 = bitcast <16 x i32> %t121 to <16 x float>
  %t123 = fmul contract <16 x float> %t115, %t122
  %t124 = sub <16 x i32> %t120, %t121
  %t125 = add <16 x i32> %t124, splat (i32 1065353216)
  %t126 = bitcast <16 x i32> %t125 to <16 x float>
  %t127 = fmul contract <16 x float> %t123, %t126
  %t128 = getelementptr float, ptr %t3, i64 %t98
  store <16 x float> %t127, ptr %t128, align 4, !alias.scope !9, !noalias !10
  br label %loop88.latch
loop88.latch:
  %v88.next = add nsw i64 %v88, 1
  %v88.more = icmp slt i64 %v88.next, 8
  br i1 %v88.more, label %loop88, label %loop88.end
loop88.end:
  store <16 x float> splat (float 0x0000000000000000), ptr %r118
  store <16 x float> splat (float 0x0000000000000000), ptr %r119
  store <16 x float> splat (float 0x0000000000000000), ptr %r120
  store <16 x float> splat (float 0x0000000000000000), ptr %r121
  %t129 = icmp slt i64 0, 2
  br i1 %t129, label %loop122.pre, label %loop122.end
loop122.pre:
  br label %loop122
loop122:
  %v122 = phi i64 [ 0, %loop122.pre ], [ %v122.next, %loop122.latch ]
  %t130 = mul i64 %v122, 64
  %t131 = mul i64 %v122, 64
  %t132 = getelementptr float, ptr %t3, i64 %t131
  %t133 = load <16 x float>, ptr %t132, align 4, !alias.scope !9, !noalias !10
  %t134 = load <16 x float>, ptr %r118
  %t135 = fadd contract <16 x float> %t133, %t134
  store <16 x float> %t135, ptr %r118
  %t136 = add i64 %t130, 16
  %t137 = getelementptr i8, ptr %t132, i64 64
  %t138 = load <16 x float>, ptr %t137, align 4, !alias.scope !9, !noalias !10
  %t139 = load <16 x float>, ptr %r119
  %t140 = fadd contract <16 x float> %t138, %t139
  store <16 x float> %t140, ptr %r119
  %t141 = add i64 %t130, 32
  %t142 = getelementptr i8, ptr %t132, i64 128
  %t143 = load <16 x float>, ptr %t142, align 4, !alias.scope !9, !noalias !10
  %t144 = load <16 x float>, ptr %r120
  %t145 = fadd contract <16 x float> %t143, %t144
  store <16 x float> %t145, ptr %r120
  %t146 = add i64 %t130, 48
  %t147 = getelementptr i8, ptr %t132, i64 192
  %t148 = load <16 x float>, ptr %t147, align 4, !alias.scope !9, !noalias !10
  %t149 = load <16 x float>, ptr %r121
  %t150 = fadd contract <16 x float> %t148, %t149
  store <16 x float> %t150, ptr %r121
  br label %loop122.latch
loop122.latch:
  %v122.next = add nsw i64 %v122, 1
  %v122.more = icmp slt i64 %v122.next, 2
  br i1 %v122.more, label %loop122, label %loop122.end
loop122.end:
  %t151 = load <16 x float>, ptr %r118
  %t152 = load <16 x float>, ptr %r119
  %t153 = load <16 x float>, ptr %r120
  %t154 = load <16 x float>, ptr %r121
  %t155 = fadd contract <16 x float> %t151, %t152
  %t156 = fadd contract <16 x float> %t153, %t154
  %t157 = fadd contract <16 x float> %t155, %t156
  %t158 = shufflevector <16 x float> %t157, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %t159 = shufflevector <16 x float> %t157, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %t160 = fadd contract <8 x float> %t158, %t159
  %t161 = shufflevector <8 x float> %t160, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %t162 = shufflevector <8 x float> %t160, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %t163 = fadd contract <4 x float> %t161, %t162
  %t164 = shufflevector <4 x float> %t163, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %t165 = shufflevector <4 x float> %t163, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %t166 = fadd contract <2 x float> %t164, %t165
  %t167 = shufflevector <2 x float> %t166, <2 x float> poison, <1 x i32> <i32 0>
  %t168 = shufflevector <2 x float> %t166, <2 x float> poison, <1 x i32> <i32 1>
  %t169 = extractelement <1 x float> %t167, i32 0
  %t170 = extractelement <1 x float> %t168, i32 0
  %t171 = fadd contract float %t169, %t170
  %t172 = insertelement <16 x float> poison, float %t171, i32 0
  %t173 = shufflevector <16 x float> %t172, <16 x float> poison, <16 x i32> zeroinitializer
  %t174 = icmp slt i64 0, 8
  br i1 %t174, label %loop153.pre, label %loop153.end
loop153.pre:
  br label %loop153
loop153:
  %v153 = phi i64 [ 0, %loop153.pre ], [ %v153.next, %loop153.latch ]
  %t175 = mul i64 %v153, 16
  %t176 = mul i64 %v153, 16
  %t177 = getelementptr float, ptr %t3, i64 %t176
  %t178 = load <16 x float>, ptr %t177, align 4, !alias.scope !9, !noalias !10
  %t179 = fdiv <16 x float> %t178, %t173
  %t180 = add i64 %t7, %t175
  %t181 = mul i64 %grid, 640
  %t182 = getelementptr float, ptr %p0, i64 %t181
  %t183 = mul i64 %v49, 128
  %t184 = getelementptr float, ptr %t182, i64 %t183
  %t185 = getelementptr float, ptr %t184, i64 %t176
  store <16 x float> %t179, ptr %t185, align 4, !alias.scope !3, !noalias !4
  br label %loop153.latch
loop153.latch:
  %v153.next = add nsw i64 %v153, 1
  %v153.more = icmp slt i64 %v153.next, 8
  br i1 %v153.more, label %loop153, label %loop153.end
loop153.end:
  br label %loop49.latch
loop49.latch:
  %v49.next = add nsw i64 %v49, 1
  %v49.more = icmp slt i64 %v49.next, %t2
  br i1 %v49.more, label %loop49, label %loop49.end
loop49.end:
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
