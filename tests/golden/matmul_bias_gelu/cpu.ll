; kernel c_2_16_8_50a735
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @c_2_16_8_50a735(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %slot2 = getelementptr i8, ptr %buffers, i64 16
  %p2 = load ptr, ptr %slot2, align 8, !invariant.load !0
  %slot3 = getelementptr i8, ptr %buffers, i64 24
  %p3 = load ptr, ptr %slot3, align 8, !invariant.load !0
  %r83 = alloca <16 x float>
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
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  store <16 x float> splat (float 0x0000000000000000), ptr %r83
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
  %t0 = load float, ptr %p1, align 4, !alias.scope !6, !noalias !7
  %t1 = insertelement <16 x float> poison, float %t0, i32 0
  %t2 = shufflevector <16 x float> %t1, <16 x float> poison, <16 x i32> zeroinitializer
  %t3 = load <16 x float>, ptr %p2, align 4, !alias.scope !9, !noalias !10
  %t4 = load <16 x float>, ptr %r83
  %t5 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t2, <16 x float> %t3, <16 x float> %t4)
  store <16 x float> %t5, ptr %r83
  %t6 = getelementptr i8, ptr %p1, i64 32
  %t7 = load float, ptr %t6, align 4, !alias.scope !6, !noalias !7
  %t8 = insertelement <16 x float> poison, float %t7, i32 0
  %t9 = shufflevector <16 x float> %t8, <16 x float> poison, <16 x i32> zeroinitializer
  %t10 = load <16 x float>, ptr %r91
  %t11 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t9, <16 x float> %t3, <16 x float> %t10)
  store <16 x float> %t11, ptr %r91
  %t12 = getelementptr i8, ptr %p1, i64 4
  %t13 = load float, ptr %t12, align 4, !alias.scope !6, !noalias !7
  %t14 = insertelement <16 x float> poison, float %t13, i32 0
  %t15 = shufflevector <16 x float> %t14, <16 x float> poison, <16 x i32> zeroinitializer
  %t16 = getelementptr i8, ptr %p2, i64 64
  %t17 = load <16 x float>, ptr %t16, align 4, !alias.scope !9, !noalias !10
  %t18 = load <16 x float>, ptr %r84
  %t19 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t15, <16 x float> %t17, <16 x float> %t18)
  store <16 x float> %t19, ptr %r84
  %t20 = getelementptr i8, ptr %p1, i64 36
  %t21 = load float, ptr %t20, align 4, !alias.scope !6, !noalias !7
  %t22 = insertelement <16 x float> poison, float %t21, i32 0
  %t23 = shufflevector <16 x float> %t22, <16 x float> poison, <16 x i32> zeroinitializer
  %t24 = load <16 x float>, ptr %r92
  %t25 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t23, <16 x float> %t17, <16 x float> %t24)
  store <16 x float> %t25, ptr %r92
  %t26 = getelementptr i8, ptr %p1, i64 8
  %t27 = load float, ptr %t26, align 4, !alias.scope !6, !noalias !7
  %t28 = insertelement <16 x float> poison, float %t27, i32 0
  %t29 = shufflevector <16 x float> %t28, <16 x float> poison, <16 x i32> zeroinitializer
  %t30 = getelementptr i8, ptr %p2, i64 128
  %t31 = load <16 x float>, ptr %t30, align 4, !alias.scope !9, !noalias !10
  %t32 = load <16 x float>, ptr %r85
  %t33 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t29, <16 x float> %t31, <16 x float> %t32)
  store <16 x float> %t33, ptr %r85
  %t34 = getelementptr i8, ptr %p1, i64 40
  %t35 = load float, ptr %t34, align 4, !alias.scope !6, !noalias !7
  %t36 = insertelement <16 x float> poison, float %t35, i32 0
  %t37 = shufflevector <16 x float> %t36, <16 x float> poison, <16 x i32> zeroinitializer
  %t38 = load <16 x float>, ptr %r93
  %t39 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t37, <16 x float> %t31, <16 x float> %t38)
  store <16 x float> %t39, ptr %r93
  %t40 = getelementptr i8, ptr %p1, i64 12
  %t41 = load float, ptr %t40, align 4, !alias.scope !6, !noalias !7
  %t42 = insertelement <16 x float> poison, float %t41, i32 0
  %t43 = shufflevector <16 x float> %t42, <16 x float> poison, <16 x i32> zeroinitializer
  %t44 = getelementptr i8, ptr %p2, i64 192
  %t45 = load <16 x float>, ptr %t44, align 4, !alias.scope !9, !noalias !10
  %t46 = load <16 x float>, ptr %r86
  %t47 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t43, <16 x float> %t45, <16 x float> %t46)
  store <16 x float> %t47, ptr %r86
  %t48 = getelementptr i8, ptr %p1, i64 44
  %t49 = load float, ptr %t48, align 4, !alias.scope !6, !noalias !7
  %t50 = insertelement <16 x float> poison, float %t49, i32 0
  %t51 = shufflevector <16 x float> %t50, <16 x float> poison, <16 x i32> zeroinitializer
  %t52 = load <16 x float>, ptr %r94
  %t53 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t51, <16 x float> %t45, <16 x float> %t52)
  store <16 x float> %t53, ptr %r94
  %t54 = getelementptr i8, ptr %p1, i64 16
  %t55 = load float, ptr %t54, align 4, !alias.scope !6, !noalias !7
  %t56 = insertelement <16 x float> poison, float %t55, i32 0
  %t57 = shufflevector <16 x float> %t56, <16 x float> poison, <16 x i32> zeroinitializer
  %t58 = getelementptr i8, ptr %p2, i64 256
  %t59 = load <16 x float>, ptr %t58, align 4, !alias.scope !9, !noalias !10
  %t60 = load <16 x float>, ptr %r87
  %t61 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t57, <16 x float> %t59, <16 x float> %t60)
  store <16 x float> %t61, ptr %r87
  %t62 = getelementptr i8, ptr %p1, i64 48
  %t63 = load float, ptr %t62, align 4, !alias.scope !6, !noalias !7
  %t64 = insertelement <16 x float> poison, float %t63, i32 0
  %t65 = shufflevector <16 x float> %t64, <16 x float> poison, <16 x i32> zeroinitializer
  %t66 = load <16 x float>, ptr %r95
  %t67 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t65, <16 x float> %t59, <16 x float> %t66)
  store <16 x float> %t67, ptr %r95
  %t68 = getelementptr i8, ptr %p1, i64 20
  %t69 = load float, ptr %t68, align 4, !alias.scope !6, !noalias !7
  %t70 = insertelement <16 x float> poison, float %t69, i32 0
  %t71 = shufflevector <16 x float> %t70, <16 x float> poison, <16 x i32> zeroinitializer
  %t72 = getelementptr i8, ptr %p2, i64 320
  %t73 = load <16 x float>, ptr %t72, align 4, !alias.scope !9, !noalias !10
  %t74 = load <16 x float>, ptr %r88
  %t75 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t71, <16 x float> %t73, <16 x float> %t74)
  store <16 x float> %t75, ptr %r88
  %t76 = getelementptr i8, ptr %p1, i64 52
  %t77 = load float, ptr %t76, align 4, !alias.scope !6, !noalias !7
  %t78 = insertelement <16 x float> poison, float %t77, i32 0
  %t79 = shufflevector <16 x float> %t78, <16 x float> poison, <16 x i32> zeroinitializer
  %t80 = load <16 x float>, ptr %r96
  %t81 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t79, <16 x float> %t73, <16 x float> %t80)
  store <16 x float> %t81, ptr %r96
  %t82 = getelementptr i8, ptr %p1, i64 24
  %t83 = load float, ptr %t82, align 4, !alias.scope !6, !noalias !7
  %t84 = insertelement <16 x float> poison, float %t83, i32 0
  %t85 = shufflevector <16 x float> %t84, <16 x float> poison, <16 x i32> zeroinitializer
  %t86 = getelementptr i8, ptr %p2, i64 384
  %t87 = load <16 x float>, ptr %t86, align 4, !alias.scope !9, !noalias !10
  %t88 = load <16 x float>, ptr %r89
  %t89 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t85, <16 x float> %t87, <16 x float> %t88)
  store <16 x float> %t89, ptr %r89
  %t90 = getelementptr i8, ptr %p1, i64 56
  %t91 = load float, ptr %t90, align 4, !alias.scope !6, !noalias !7
  %t92 = insertelement <16 x float> poison, float %t91, i32 0
  %t93 = shufflevector <16 x float> %t92, <16 x float> poison, <16 x i32> zeroinitializer
  %t94 = load <16 x float>, ptr %r97
  %t95 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t93, <16 x float> %t87, <16 x float> %t94)
  store <16 x float> %t95, ptr %r97
  %t96 = getelementptr i8, ptr %p1, i64 28
  %t97 = load float, ptr %t96, align 4, !alias.scope !6, !noalias !7
  %t98 = insertelement <16 x float> poison, float %t97, i32 0
  %t99 = shufflevector <16 x float> %t98, <16 x float> poison, <16 x i32> zeroinitializer
  %t100 = getelementptr i8, ptr %p2, i64 448
  %t101 = load <16 x float>, ptr %t100, align 4, !alias.scope !9, !noalias !10
  %t102 = load <16 x float>, ptr %r90
  %t103 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t99, <16 x float> %t101, <16 x float> %t102)
  store <16 x float> %t103, ptr %r90
  %t104 = getelementptr i8, ptr %p1, i64 60
  %t105 = load float, ptr %t104, align 4, !alias.scope !6, !noalias !7
  %t106 = insertelement <16 x float> poison, float %t105, i32 0
  %t107 = shufflevector <16 x float> %t106, <16 x float> poison, <16 x i32> zeroinitializer
  %t108 = load <16 x float>, ptr %r98
  %t109 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t107, <16 x float> %t101, <16 x float> %t108)
  store <16 x float> %t109, ptr %r98
  %t110 = load <16 x float>, ptr %r83
  %t111 = load <16 x float>, ptr %r84
  %t112 = load <16 x float>, ptr %r85
  %t113 = load <16 x float>, ptr %r86
  %t114 = load <16 x float>, ptr %r87
  %t115 = load <16 x float>, ptr %r88
  %t116 = load <16 x float>, ptr %r89
  %t117 = load <16 x float>, ptr %r90
  %t118 = fadd contract <16 x float> %t110, %t111
  %t119 = fadd contract <16 x float> %t112, %t113
  %t120 = fadd contract <16 x float> %t114, %t115
  %t121 = fadd contract <16 x float> %t116, %t117
  %t122 = fadd contract <16 x float> %t118, %t119
  %t123 = fadd contract <16 x float> %t120, %t121
  %t124 = fadd contract <16 x float> %t122, %t123
  %t125 = load <16 x float>, ptr %r91
  %t126 = load <16 x float>, ptr %r92
  %t127 = load <16 x float>, ptr %r93
  %t128 = load <16 x float>, ptr %r94
  %t129 = load <16 x float>, ptr %r95
  %t130 = load <16 x float>, ptr %r96
  %t131 = load <16 x float>, ptr %r97
  %t132 = load <16 x float>, ptr %r98
  %t133 = fadd contract <16 x float> %t125, %t126
  %t134 = fadd contract <16 x float> %t127, %t128
  %t135 = fadd contract <16 x float> %t129, %t130
  %t136 = fadd contract <16 x float> %t131, %t132
  %t137 = fadd contract <16 x float> %t133, %t134
  %t138 = fadd contract <16 x float> %t135, %t136
  %t139 = fadd contract <16 x float> %t137, %t138
  %t140 = load <16 x float>, ptr %p3, align 4, !alias.scope !12, !noalias !13
  %t141 = fadd contract <16 x float> %t124, %t140
  %t142 = fmul contract <16 x float> %t141, splat (float 0x3fe0000000000000)
  %t143 = fmul contract <16 x float> %t141, splat (float 0x3fe6a09e60000000)
  %t144 = bitcast <16 x float> %t143 to <16 x i32>
  %t145 = and <16 x i32> %t144, splat (i32 2147483647)
  %t146 = bitcast <16 x i32> %t145 to <16 x float>
  %t147 = fcmp olt <16 x float> %t146, splat (float 0x3fec000000000000)
  %t148 = fmul contract <16 x float> %t143, %t143
  %t149 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0xbf44141740000000), <16 x float> %t148, <16 x float> splat (float 0x3f748c79e0000000))
  %t150 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t149, <16 x float> %t148, <16 x float> splat (float 0xbf9b6c4b80000000))
  %t151 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t150, <16 x float> %t148, <16 x float> splat (float 0x3fbce1d8e0000000))
  %t152 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t151, <16 x float> %t148, <16 x float> splat (float 0xbfd8126f20000000))
  %t153 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t152, <16 x float> %t148, <16 x float> splat (float 0x3fc06eba60000000))
  %t154 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t143, <16 x float> %t153, <16 x float> %t143)
  %t155 = fcmp olt <16 x float> splat (float 0x4010000000000000), %t146
  %t156 = select <16 x i1> %t155, <16 x float> splat (float 0x4010000000000000), <16 x float> %t146
  %t157 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0x3f33019b00000000), <16 x float> %t156, <16 x float> splat (float 0xbf72464720000000))
  %t158 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t157, <16 x float> %t156, <16 x float> splat (float 0x3fa08fbe60000000))
  %t159 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t158, <16 x float> %t156, <16 x float> splat (float 0xbfc3441280000000))
  %t160 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t159, <16 x float> %t156, <16 x float> splat (float 0xbfed654c40000000))
  %t161 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t160, <16 x float> %t156, <16 x float> splat (float 0xbffa094b40000000))
  %t162 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t161, <16 x float> %t156, <16 x float> splat (float 0xbf29398840000000))
  %t163 = fadd contract <16 x float> %t162, splat (float 0x4168000fe0000000)
  %t164 = fsub contract <16 x float> %t163, splat (float 0x4168000fe0000000)
  %t165 = fsub contract <16 x float> %t162, %t164
  %t166 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0xbf24178de0000000), <16 x float> %t165, <16 x float> splat (float 0xbf55f09600000000))
  %t167 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t166, <16 x float> %t165, <16 x float> splat (float 0xbf83b2dd40000000))
  %t168 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t167, <16 x float> %t165, <16 x float> splat (float 0xbfac6af7a0000000))
  %t169 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t168, <16 x float> %t165, <16 x float> splat (float 0xbfcebfbdc0000000))
  %t170 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t169, <16 x float> %t165, <16 x float> splat (float 0xbfe62e4300000000))
  %t171 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t165, <16 x float> %t170, <16 x float> splat (float 0xbff0000000000000))
  %t172 = bitcast <16 x float> %t163 to <16 x i32>
  %t173 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %t174 = select <16 x i1> %t173, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %t175 = shl <16 x i32> %t172, %t174
  %t176 = select <16 x i1> %t173, <16 x i32> %t175, <16 x i32> splat (i32 0)
  %t177 = bitcast <16 x i32> %t176 to <16 x float>
  %t178 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t171, <16 x float> %t177, <16 x float> splat (float 0x3ff0000000000000))
  %t179 = bitcast <16 x float> %t178 to <16 x i32>
  %t180 = and <16 x i32> %t144, splat (i32 -2147483648)
  %t181 = or <16 x i32> %t179, %t180
  %t182 = bitcast <16 x i32> %t181 to <16 x float>
  %t183 = select <16 x i1> %t147, <16 x float> %t154, <16 x float> %t182
  %t184 = fadd contract <16 x float> %t183, splat (float 0x3ff0000000000000)
  %t185 = fmul contract <16 x float> %t142, %t184
  store <16 x float> %t185, ptr %p0, align 4, !alias.scope !3, !noalias !4
  %t186 = fadd contract <16 x float> %t139, %t140
  %t187 = fmul contract <16 x float> %t186, splat (float 0x3fe0000000000000)
  %t188 = fmul contract <16 x float> %t186, splat (float 0x3fe6a09e60000000)
  %t189 = bitcast <16 x float> %t188 to <16 x i32>
  %t190 = and <16 x i32> %t189, splat (i32 2147483647)
  %t191 = bitcast <16 x i32> %t190 to <16 x float>
  %t192 = fcmp olt <16 x float> %t191, splat (float 0x3fec000000000000)
  %t193 = fmul contract <16 x float> %t188, %t188
  %t194 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0xbf44141740000000), <16 x float> %t193, <16 x float> splat (float 0x3f748c79e0000000))
  %t195 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t194, <16 x float> %t193, <16 x float> splat (float 0xbf9b6c4b80000000))
  %t196 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t195, <16 x float> %t193, <16 x float> splat (float 0x3fbce1d8e0000000))
  %t197 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t196, <16 x float> %t193, <16 x float> splat (float 0xbfd8126f20000000))
  %t198 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t197, <16 x float> %t193, <16 x float> splat (float 0x3fc06eba60000000))
  %t199 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t188, <16 x float> %t198, <16 x float> %t188)
  %t200 = fcmp olt <16 x float> splat (float 0x4010000000000000), %t191
  %t201 = select <16 x i1> %t200, <16 x float> splat (float 0x4010000000000000), <16 x float> %t191
  %t202 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0x3f33019b00000000), <16 x float> %t201, <16 x float> splat (float 0xbf72464720000000))
  %t203 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t202, <16 x float> %t201, <16 x float> splat (float 0x3fa08fbe60000000))
  %t204 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t203, <16 x float> %t201, <16 x float> splat (float 0xbfc3441280000000))
  %t205 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t204, <16 x float> %t201, <16 x float> splat (float 0xbfed654c40000000))
  %t206 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t205, <16 x float> %t201, <16 x float> splat (float 0xbffa094b40000000))
  %t207 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t206, <16 x float> %t201, <16 x float> splat (float 0xbf29398840000000))
  %t208 = fadd contract <16 x float> %t207, splat (float 0x4168000fe0000000)
  %t209 = fsub contract <16 x float> %t208, splat (float 0x4168000fe0000000)
  %t210 = fsub contract <16 x float> %t207, %t209
  %t211 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0xbf24178de0000000), <16 x float> %t210, <16 x float> splat (float 0xbf55f09600000000))
  %t212 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t211, <16 x float> %t210, <16 x float> splat (float 0xbf83b2dd40000000))
  %t213 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t212, <16 x float> %t210, <16 x float> splat (float 0xbfac6af7a0000000))
  %t214 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t213, <16 x float> %t210, <16 x float> splat (float 0xbfcebfbdc0000000))
  %t215 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t214, <16 x float> %t210, <16 x float> splat (float 0xbfe62e4300000000))
  %t216 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t210, <16 x float> %t215, <16 x float> splat (float 0xbff0000000000000))
  %t217 = bitcast <16 x float> %t208 to <16 x i32>
  %t218 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %t219 = select <16 x i1> %t218, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %t220 = shl <16 x i32> %t217, %t219
  %t221 = select <16 x i1> %t218, <16 x i32> %t220, <16 x i32> splat (i32 0)
  %t222 = bitcast <16 x i32> %t221 to <16 x float>
  %t223 = call <16 x float> @llvm.fma.v16f32(<16 x float> %t216, <16 x float> %t222, <16 x float> splat (float 0x3ff0000000000000))
  %t224 = bitcast <16 x float> %t223 to <16 x i32>
  %t225 = and <16 x i32> %t189, splat (i32 -2147483648)
  %t226 = or <16 x i32> %t224, %t225
  %t227 = bitcast <16 x i32> %t226 to <16 x float>
  %t228 = select <16 x i1> %t192, <16 x float> %t199, <16 x float> %t227
  %t229 = fadd contract <16 x float> %t228, splat (float 0x3ff0000000000000)
  %t230 = fmul contract <16 x float> %t187, %t229
  %t231 = getelementptr i8, ptr %p0, i64 64
  store <16 x float> %t230, ptr %t231, align 4, !alias.scope !3, !noalias !4
  br label %chunk.latch
chunk.latch:
  %grid.next = add nsw i64 %grid, 1
  %more = icmp slt i64 %grid.next, %end
  br i1 %more, label %chunk, label %done
done:
  ret void
}

attributes #0 = { nofree norecurse nosync nounwind "target-features"="+avx,+avx2,+avx512bf16,+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vbmi,+avx512vl,+avx512vnni,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sahf,+sse3,+sse4.1,+sse4.2,+ssse3" "tune-cpu"="znver4" "prefer-vector-width"="512" }

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
; kernel pack_128_93dc53
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @pack_128_93dc53(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
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

attributes #0 = { nofree norecurse nosync nounwind "target-features"="+avx,+avx2,+avx512bf16,+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512vbmi,+avx512vl,+avx512vnni,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sahf,+sse3,+sse4.1,+sse4.2,+ssse3" "tune-cpu"="znver4" "prefer-vector-width"="512" }

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
