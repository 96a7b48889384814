; kernel c_2_16_8_899edd
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @c_2_16_8_899edd(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %slot2 = getelementptr i8, ptr %buffers, i64 16
  %p2 = load ptr, ptr %slot2, align 8, !invariant.load !0
  %slot3 = getelementptr i8, ptr %buffers, i64 24
  %p3 = load ptr, ptr %slot3, align 8, !invariant.load !0
  %r84 = alloca <16 x float>
  %r85 = alloca <16 x float>
  %r86 = alloca <16 x float>
  %r87 = alloca <16 x float>
  %r88 = alloca <16 x float>
  %r89 = alloca <16 x float>
  %r90 = alloca <16 x float>
  %r91 = alloca <16 x float>
  %r92 = alloca <16 x float>
  %r93 = alloca <16 x float>
  %r94 = alloca <16 x float>
  %r95 = alloca <16 x float>
  %r96 = alloca <16 x float>
  %r97 = alloca <16 x float>
  %r98 = alloca <16 x float>
  %r99 = alloca <16 x float>
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  %t0 = getelementptr i8, ptr %scratch, i64 0
  store <16 x float> splat (float 0x0000000000000000), ptr %r84
  store <16 x float> splat (float 0x0000000000000000), ptr %r85
  store <16 x float> splat (float 0x0000000000000000), ptr %r86
  store <16 x float> splat (float 0x0000000000000000), ptr %r87
  store <16 x float> splat (float 0x0000000000000000), ptr %r88
  store <16 x float> splat (float 0x0000000000000000), ptr %r89
  store <16 x float> splat (float 0x0000000000000000), ptr %r90
  store <16 x float> splat (float 0x0000000000000000), ptr %r91
  store <16 x float> splat (float 0x0000000000000000), ptr %r92
  store <16 x float> splat (float 0x0000000000000000), ptr %r93
  store <16 x float> splat (float 0x0000000000000000), ptr %r94
  store <16 x float> splat (float 0x0000000000000000), ptr %r95
  store <16 x float> splat (float 0x0000000000000000), ptr %r96
  store <16 x float> splat (float 0x0000000000000000), ptr %r97
  store <16 x float> splat (float 0x0000000000000000), ptr %r98
  store <16 x float> splat (float 0x0000000000000000), ptr %r99
  %t1 = load float, ptr %p1, align 4, !alias.scope !6, !noalias !7
  %t2 = insertelement <16 x float> poison, float %t1, i32 0
  %t3 = shufflevector <16 x float> %t2, <16 x float> poison, <16 x i32> zeroinitializer
  %t4 = load <16 x float>, ptr %p2, align 4, !alias.scope !9, !noalias !10
  %t5 = load <16 x float>, ptr %r84
  %t6 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t3, <16 x float> %t4, <16 x float> %t5)
  store <16 x float> %t6, ptr %r84
  %t7 = getelementptr i8, ptr %p1, i64 32
  %t8 = load float, ptr %t7, align 4, !alias.scope !6, !noalias !7
  %t9 = insertelement <16 x float> poison, float %t8, i32 0
  %t10 = shufflevector <16 x float> %t9, <16 x float> poison, <16 x i32> zeroinitializer
  %t11 = load <16 x float>, ptr %r92
  %t12 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t10, <16 x float> %t4, <16 x float> %t11)
  store <16 x float> %t12, ptr %r92
  %t13 = getelementptr i8, ptr %p1, i64 4
  %t14 = load float, ptr %t13, align 4, !alias.scope !6, !noalias !7
  %t15 = insertelement <16 x float> poison, float %t14, i32 0
  %t16 = shufflevector <16 x float> %t15, <16 x float> poison, <16 x i32> zeroinitializer
  %t17 = getelementptr i8, ptr %p2, i64 64
  %t18 = load <16 x float>, ptr %t17, align 4, !alias.scope !9, !noalias !10
  %t19 = load <16 x float>, ptr %r85
  %t20 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t16, <16 x float> %t18, <16 x float> %t19)
  store <16 x float> %t20, ptr %r85
  %t21 = getelementptr i8, ptr %p1, i64 36
  %t22 = load float, ptr %t21, align 4, !alias.scope !6, !noalias !7
  %t23 = insertelement <16 x float> poison, float %t22, i32 0
  %t24 = shufflevector <16 x float> %t23, <16 x float> poison, <16 x i32> zeroinitializer
  %t25 = load <16 x float>, ptr %r93
  %t26 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t24, <16 x float> %t18, <16 x float> %t25)
  store <16 x float> %t26, ptr %r93
  %t27 = getelementptr i8, ptr %p1, i64 8
  %t28 = load float, ptr %t27, align 4, !alias.scope !6, !noalias !7
  %t29 = insertelement <16 x float> poison, float %t28, i32 0
  %t30 = shufflevector <16 x float> %t29, <16 x float> poison, <16 x i32> zeroinitializer
  %t31 = getelementptr i8, ptr %p2, i64 128
  %t32 = load <16 x float>, ptr %t31, align 4, !alias.scope !9, !noalias !10
  %t33 = load <16 x float>, ptr %r86
  %t34 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t30, <16 x float> %t32, <16 x float> %t33)
  store <16 x float> %t34, ptr %r86
  %t35 = getelementptr i8, ptr %p1, i64 40
  %t36 = load float, ptr %t35, align 4, !alias.scope !6, !noalias !7
  %t37 = insertelement <16 x float> poison, float %t36, i32 0
  %t38 = shufflevector <16 x float> %t37, <16 x float> poison, <16 x i32> zeroinitializer
  %t39 = load <16 x float>, ptr %r94
  %t40 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t38, <16 x float> %t32, <16 x float> %t39)
  store <16 x float> %t40, ptr %r94
  %t41 = getelementptr i8, ptr %p1, i64 12
  %t42 = load float, ptr %t41, align 4, !alias.scope !6, !noalias !7
  %t43 = insertelement <16 x float> poison, float %t42, i32 0
  %t44 = shufflevector <16 x float> %t43, <16 x float> poison, <16 x i32> zeroinitializer
  %t45 = getelementptr i8, ptr %p2, i64 192
  %t46 = load <16 x float>, ptr %t45, align 4, !alias.scope !9, !noalias !10
  %t47 = load <16 x float>, ptr %r87
  %t48 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t44, <16 x float> %t46, <16 x float> %t47)
  store <16 x float> %t48, ptr %r87
  %t49 = getelementptr i8, ptr %p1, i64 44
  %t50 = load float, ptr %t49, align 4, !alias.scope !6, !noalias !7
  %t51 = insertelement <16 x float> poison, float %t50, i32 0
  %t52 = shufflevector <16 x float> %t51, <16 x float> poison, <16 x i32> zeroinitializer
  %t53 = load <16 x float>, ptr %r95
  %t54 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t52, <16 x float> %t46, <16 x float> %t53)
  store <16 x float> %t54, ptr %r95
  %t55 = getelementptr i8, ptr %p1, i64 16
  %t56 = load float, ptr %t55, align 4, !alias.scope !6, !noalias !7
  %t57 = insertelement <16 x float> poison, float %t56, i32 0
  %t58 = shufflevector <16 x float> %t57, <16 x float> poison, <16 x i32> zeroinitializer
  %t59 = getelementptr i8, ptr %p2, i64 256
  %t60 = load <16 x float>, ptr %t59, align 4, !alias.scope !9, !noalias !10
  %t61 = load <16 x float>, ptr %r88
  %t62 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t58, <16 x float> %t60, <16 x float> %t61)
  store <16 x float> %t62, ptr %r88
  %t63 = getelementptr i8, ptr %p1, i64 48
  %t64 = load float, ptr %t63, align 4, !alias.scope !6, !noalias !7
  %t65 = insertelement <16 x float> poison, float %t64, i32 0
  %t66 = shufflevector <16 x float> %t65, <16 x float> poison, <16 x i32> zeroinitializer
  %t67 = load <16 x float>, ptr %r96
  %t68 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t66, <16 x float> %t60, <16 x float> %t67)
  store <16 x float> %t68, ptr %r96
  %t69 = getelementptr i8, ptr %p1, i64 20
  %t70 = load float, ptr %t69, align 4, !alias.scope !6, !noalias !7
  %t71 = insertelement <16 x float> poison, float %t70, i32 0
  %t72 = shufflevector <16 x float> %t71, <16 x float> poison, <16 x i32> zeroinitializer
  %t73 = getelementptr i8, ptr %p2, i64 320
  %t74 = load <16 x float>, ptr %t73, align 4, !alias.scope !9, !noalias !10
  %t75 = load <16 x float>, ptr %r89
  %t76 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t72, <16 x float> %t74, <16 x float> %t75)
  store <16 x float> %t76, ptr %r89
  %t77 = getelementptr i8, ptr %p1, i64 52
  %t78 = load float, ptr %t77, align 4, !alias.scope !6, !noalias !7
  %t79 = insertelement <16 x float> poison, float %t78, i32 0
  %t80 = shufflevector <16 x float> %t79, <16 x float> poison, <16 x i32> zeroinitializer
  %t81 = load <16 x float>, ptr %r97
  %t82 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t80, <16 x float> %t74, <16 x float> %t81)
  store <16 x float> %t82, ptr %r97
  %t83 = getelementptr i8, ptr %p1, i64 24
  %t84 = load float, ptr %t83, align 4, !alias.scope !6, !noalias !7
  %t85 = insertelement <16 x float> poison, float %t84, i32 0
  %t86 = shufflevector <16 x float> %t85, <16 x float> poison, <16 x i32> zeroinitializer
  %t87 = getelementptr i8, ptr %p2, i64 384
  %t88 = load <16 x float>, ptr %t87, align 4, !alias.scope !9, !noalias !10
  %t89 = load <16 x float>, ptr %r90
  %t90 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t86, <16 x float> %t88, <16 x float> %t89)
  store <16 x float> %t90, ptr %r90
  %t91 = getelementptr i8, ptr %p1, i64 56
  %t92 = load float, ptr %t91, align 4, !alias.scope !6, !noalias !7
  %t93 = insertelement <16 x float> poison, float %t92, i32 0
  %t94 = shufflevector <16 x float> %t93, <16 x float> poison, <16 x i32> zeroinitializer
  %t95 = load <16 x float>, ptr %r98
  %t96 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t94, <16 x float> %t88, <16 x float> %t95)
  store <16 x float> %t96, ptr %r98
  %t97 = getelementptr i8, ptr %p1, i64 28
  %t98 = load float, ptr %t97, align 4, !alias.scope !6, !noalias !7
  %t99 = insertelement <16 x float> poison, float %t98, i32 0
  %t100 = shufflevector <16 x float> %t99, <16 x float> poison, <16 x i32> zeroinitializer
  %t101 = getelementptr i8, ptr %p2, i64 448
  %t102 = load <16 x float>, ptr %t101, align 4, !alias.scope !9, !noalias !10
  %t103 = load <16 x float>, ptr %r91
  %t104 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t100, <16 x float> %t102, <16 x float> %t103)
  store <16 x float> %t104, ptr %r91
  %t105 = getelementptr i8, ptr %p1, i64 60
  %t106 = load float, ptr %t105, align 4, !alias.scope !6, !noalias !7
  %t107 = insertelement <16 x float> poison, float %t106, i32 0
  %t108 = shufflevector <16 x float> %t107, <16 x float> poison, <16 x i32> zeroinitializer
  %t109 = load <16 x float>, ptr %r99
  %t110 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t108, <16 x float> %t102, <16 x float> %t109)
  store <16 x float> %t110, ptr %r99
  %t111 = load <16 x float>, ptr %r84
  %t112 = load <16 x float>, ptr %r85
  %t113 = load <16 x float>, ptr %r86
  %t114 = load <16 x float>, ptr %r87
  %t115 = load <16 x float>, ptr %r88
  %t116 = load <16 x float>, ptr %r89
  %t117 = load <16 x float>, ptr %r90
  %t118 = load <16 x float>, ptr %r91
  %t119 = fadd contract <16 x float> %t111, %t112
  %t120 = fadd contract <16 x float> %t113, %t114
  %t121 = fadd contract <16 x float> %t115, %t116
  %t122 = fadd contract <16 x float> %t117, %t118
  %t123 = fadd contract <16 x float> %t119, %t120
  %t124 = fadd contract <16 x float> %t121, %t122
  %t125 = fadd contract <16 x float> %t123, %t124
  %t126 = load <16 x float>, ptr %r92
  %t127 = load <16 x float>, ptr %r93
  %t128 = load <16 x float>, ptr %r94
  %t129 = load <16 x float>, ptr %r95
  %t130 = load <16 x float>, ptr %r96
  %t131 = load <16 x float>, ptr %r97
  %t132 = load <16 x float>, ptr %r98
  %t133 = load <16 x float>, ptr %r99
  %t134 = fadd contract <16 x float> %t126, %t127
  %t135 = fadd contract <16 x float> %t128, %t129
  %t136 = fadd contract <16 x float> %t130, %t131
  %t137 = fadd contract <16 x float> %t132, %t133
  %t138 = fadd contract <16 x float> %t134, %t135
  %t139 = fadd contract <16 x float> %t136, %t137
  %t140 = fadd contract <16 x float> %t138, %t139
  store <16 x float> %t125, ptr %t0, align 4, !alias.scope !15, !noalias !16
  %t141 = getelementptr i8, ptr %t0, i64 64
  store <16 x float> %t140, ptr %t141, align 4, !alias.scope !15, !noalias !16
  %t142 = load <16 x float>, ptr %p3, align 4, !alias.scope !12, !noalias !13
  %t143 = icmp slt i64 0, 2
  br i1 %t143, label %loop225.pre, label %loop225.end
loop225.pre:
  br label %loop225
loop225:
  %v225 = phi i64 [ 0, %loop225.pre ], [ %v225.next, %loop225.latch ]
  %t144 = mul i64 %v225, 16
  %t145 = mul i64 %v225, 16
  %t146 = getelementptr float, ptr %t0, i64 %t145
  %t147 = load <16 x float>, ptr %t146, align 4, !alias.scope !15, !noalias !16
  %t148 = fadd contract <16 x float> %t147, %t142
  %t149 = fmul contract <16 x float> %t148, splat (float 0x3fe0000000000000)
  %t150 = fmul contract <16 x float> %t148, splat (float 0x3fe6a09e60000000)
  %t151 = bitcast <16 x float> %t150 to <16 x i32>
  %t152 = and <16 x i32> %t151, splat (i32 2147483647)
  %t153 = bitcast <16 x i32> %t152 to <16 x float>
  %t154 = fcmp olt <16 x float> %t153, splat (float 0x3fec000000000000)
  %t155 = fmul contract <16 x float> %t150, %t150
  %t156 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0xbf44141740000000), <16 x float> %t155, <16 x float> splat (float 0x3f748c79e0000000))
  %t157 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t156, <16 x float> %t155, <16 x float> splat (float 0xbf9b6c4b80000000))
  %t158 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t157, <16 x float> %t155, <16 x float> splat (float 0x3fbce1d8e0000000))
  %t159 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t158, <16 x float> %t155, <16 x float> splat (float 0xbfd8126f20000000))
  %t160 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t159, <16 x float> %t155, <16 x float> splat (float 0x3fc06eba60000000))
  %t161 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t150, <16 x float> %t160, <16 x float> %t150)
  %t162 = fcmp olt <16 x float> splat (float 0x4010000000000000), %t153
  %t163 = select <16 x i1> %t162, <16 x float> splat (float 0x4010000000000000), <16 x float> %t153
  %t164 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0x3f33019b00000000), <16 x float> %t163, <16 x float> splat (float 0xbf72464720000000))
  %t165 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t164, <16 x float> %t163, <16 x float> splat (float 0x3fa08fbe60000000))
  %t166 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t165, <16 x float> %t163, <16 x float> splat (float 0xbfc3441280000000))
  %t167 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t166, <16 x float> %t163, <16 x float> splat (float 0xbfed654c40000000))
  %t168 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t167, <16 x float> %t163, <16 x float> splat (float 0xbffa094b40000000))
  %t169 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t168, <16 x float> %t163, <16 x float> splat (float 0xbf29398840000000))
  %t170 = fadd contract <16 x float> %t169, splat (float 0x4168000fe0000000)
  %t171 = fsub contract <16 x float> %t170, splat (float 0x4168000fe0000000)
  %t172 = fsub contract <16 x float> %t169, %t171
  %t173 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0xbf24178de0000000), <16 x float> %t172, <16 x float> splat (float 0xbf55f09600000000))
  %t174 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t173, <16 x float> %t172, <16 x float> splat (float 0xbf83b2dd40000000))
  %t175 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t174, <16 x float> %t172, <16 x float> splat (float 0xbfac6af7a0000000))
  %t176 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t175, <16 x float> %t172, <16 x float> splat (float 0xbfcebfbdc0000000))
  %t177 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t176, <16 x float> %t172, <16 x float> splat (float 0xbfe62e4300000000))
  %t178 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t172, <16 x float> %t177, <16 x float> splat (float 0xbff0000000000000))
  %t179 = bitcast <16 x float> %t170 to <16 x i32>
  %t180 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %t181 = select <16 x i1> %t180, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %t182 = shl <16 x i32> %t179, %t181
  %t183 = select <16 x i1> %t180, <16 x i32> %t182, <16 x i32> splat (i32 0)
  %t184 = bitcast <16 x i32> %t183 to <16 x float>
  %t185 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t178, <16 x float> %t184, <16 x float> splat (float 0x3ff0000000000000))
  %t186 = bitcast <16 x float> %t185 to <16 x i32>
  %t187 = and <16 x i32> %t151, splat (i32 -2147483648)
  %t188 = or <16 x i32> %t186, %t187
  %t189 = bitcast <16 x i32> %t188 to <16 x float>
  %t190 = select <16 x i1> %t154, <16 x float> %t161, <16 x float> %t189
  %t191 = fadd contract <16 x float> %t190, splat (float 0x3ff0000000000000)
  %t192 = fmul contract <16 x float> %t149, %t191
  %t193 = getelementptr float, ptr %p0, i64 %t145
  store <16 x float> %t192, ptr %t193, align 4, !alias.scope !3, !noalias !4
  br label %loop225.latch
loop225.latch:
  %v225.next = add nsw i64 %v225, 1
  %v225.more = icmp slt i64 %v225.next, 2
  br i1 %v225.more, label %loop225, label %loop225.end
loop225.end:
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
; kernel pack_128_630c92
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @pack_128_630c92(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
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
  %t0 = icmp slt i64 0, 8
  br i1 %t0, label %loop6.pre, label %loop6.end
loop6.pre:
  br label %loop6
loop6:
  %v6 = phi i64 [ 0, %loop6.pre ], [ %v6.next, %loop6.latch ]
  %t1 = mul i64 %v6, 16
  %t2 = mul i64 %v6, 16
  %t3 = getelementptr float, ptr %p1, i64 %t2
  %t4 = load <16 x float>, ptr %t3, align 4, !alias.scope !6, !noalias !7
  %t5 = getelementptr float, ptr %p0, i64 %t2
  store <16 x float> %t4, ptr %t5, align 4, !alias.scope !3, !noalias !4
  br label %loop6.latch
loop6.latch:
  %v6.next = add nsw i64 %v6, 1
  %v6.more = icmp slt i64 %v6.next, 8
  br i1 %v6.more, label %loop6, label %loop6.end
loop6.end:
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
