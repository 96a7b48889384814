; kernel c_2_4_4_3_3_ce7d4d
target triple = "x86_64-unknown-linux-gnu"

@zero = private unnamed_addr constant i64 0, align 8

define void @c_2_4_4_3_3_ce7d4d(ptr noalias %buffers, ptr noalias %vars, ptr noalias %scratch, i64 %begin, i64 %end) #0 {
entry:
  %slot0 = getelementptr i8, ptr %buffers, i64 0
  %p0 = load ptr, ptr %slot0, align 8, !invariant.load !0
  %slot1 = getelementptr i8, ptr %buffers, i64 8
  %p1 = load ptr, ptr %slot1, align 8, !invariant.load !0
  %slot2 = getelementptr i8, ptr %buffers, i64 16
  %p2 = load ptr, ptr %slot2, align 8, !invariant.load !0
  %slot3 = getelementptr i8, ptr %buffers, i64 24
  %p3 = load ptr, ptr %slot3, align 8, !invariant.load !0
  %r26 = alloca <4 x float>
  %r27 = alloca <4 x float>
  %r28 = alloca <4 x float>
  %r29 = alloca <4 x float>
  %r30 = alloca <4 x float>
  %r31 = alloca <4 x float>
  %r32 = alloca <4 x float>
  %r33 = alloca <4 x float>
  %r34 = alloca <4 x float>
  %r35 = alloca <4 x float>
  %r36 = alloca <4 x float>
  %r37 = alloca <4 x float>
  %r38 = alloca <4 x float>
  %r39 = alloca <4 x float>
  %r40 = alloca <4 x float>
  %r41 = alloca <4 x float>
  %r42 = alloca <4 x float>
  %r43 = alloca <4 x float>
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %chunks, label %done
chunks:
  br label %chunk
chunk:
  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]
  store <4 x float> splat (float 0x0000000000000000), ptr %r26
  store <4 x float> splat (float 0x0000000000000000), ptr %r27
  store <4 x float> splat (float 0x0000000000000000), ptr %r28
  store <4 x float> splat (float 0x0000000000000000), ptr %r29
  store <4 x float> splat (float 0x0000000000000000), ptr %r30
  store <4 x float> splat (float 0x0000000000000000), ptr %r31
  store <4 x float> splat (float 0x0000000000000000), ptr %r32
  store <4 x float> splat (float 0x0000000000000000), ptr %r33
  store <4 x float> splat (float 0x0000000000000000), ptr %r34
  store <4 x float> splat (float 0x0000000000000000), ptr %r35
  store <4 x float> splat (float 0x0000000000000000), ptr %r36
  store <4 x float> splat (float 0x0000000000000000), ptr %r37
  store <4 x float> splat (float 0x0000000000000000), ptr %r38
  store <4 x float> splat (float 0x0000000000000000), ptr %r39
  store <4 x float> splat (float 0x0000000000000000), ptr %r40
  store <4 x float> splat (float 0x0000000000000000), ptr %r41
  store <4 x float> splat (float 0x0000000000000000), ptr %r42
  store <4 x float> splat (float 0x0000000000000000), ptr %r43
  %t0 = mul i64 %grid, 4
  %t1 = add i64 %t0, -5
  %t2 = icmp slt i64 0, %grid
  %t3 = icmp slt i64 %grid, 5
  %t4 = and i1 %t2, %t3
  %t5 = insertelement <4 x i1> poison, i1 %t4, i32 0
  %t6 = shufflevector <4 x i1> %t5, <4 x i1> poison, <4 x i32> zeroinitializer
  %t7 = call i64 @llvm.smax.i64(i64 0, i64 -1)
  %t8 = call i64 @llvm.smin.i64(i64 4, i64 %t7)
  %t9 = trunc i64 %t8 to i32
  %t10 = insertelement <4 x i32> poison, i32 %t9, i32 0
  %t11 = shufflevector <4 x i32> %t10, <4 x i32> poison, <4 x i32> zeroinitializer
  %t12 = icmp slt <4 x i32> %t11, <i32 0, i32 1, i32 2, i32 3>
  %t13 = call i64 @llvm.smax.i64(i64 5, i64 -1)
  %t14 = call i64 @llvm.smin.i64(i64 4, i64 %t13)
  %t15 = trunc i64 %t14 to i32
  %t16 = insertelement <4 x i32> poison, i32 %t15, i32 0
  %t17 = shufflevector <4 x i32> %t16, <4 x i32> poison, <4 x i32> zeroinitializer
  %t18 = icmp slt <4 x i32> <i32 0, i32 1, i32 2, i32 3>, %t17
  %t19 = and <4 x i1> %t12, %t18
  %t20 = and <4 x i1> %t6, %t19
  %t21 = mul i64 %grid, 4
  %t22 = getelementptr float, ptr %p1, i64 %t21
  %t23 = getelementptr i8, ptr %t22, i64 -20
  %t24 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t23, i32 4, <4 x i1> %t20, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t25 = load float, ptr %p2, align 4, !alias.scope !9, !noalias !10
  %t26 = insertelement <4 x float> poison, float %t25, i32 0
  %t27 = shufflevector <4 x float> %t26, <4 x float> poison, <4 x i32> zeroinitializer
  %t28 = load <4 x float>, ptr %r26
  %t29 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t24, <4 x float> %t27, <4 x float> %t28)
  store <4 x float> %t29, ptr %r26
  %t30 = getelementptr i8, ptr %p2, i64 36
  %t31 = load float, ptr %t30, align 4, !alias.scope !9, !noalias !10
  %t32 = insertelement <4 x float> poison, float %t31, i32 0
  %t33 = shufflevector <4 x float> %t32, <4 x float> poison, <4 x i32> zeroinitializer
  %t34 = load <4 x float>, ptr %r35
  %t35 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t24, <4 x float> %t33, <4 x float> %t34)
  store <4 x float> %t35, ptr %r35
  %t36 = add i64 %t0, -4
  %t37 = call i64 @llvm.smax.i64(i64 -1, i64 -1)
  %t38 = call i64 @llvm.smin.i64(i64 4, i64 %t37)
  %t39 = trunc i64 %t38 to i32
  %t40 = insertelement <4 x i32> poison, i32 %t39, i32 0
  %t41 = shufflevector <4 x i32> %t40, <4 x i32> poison, <4 x i32> zeroinitializer
  %t42 = icmp slt <4 x i32> %t41, <i32 0, i32 1, i32 2, i32 3>
  %t43 = call i64 @llvm.smax.i64(i64 4, i64 -1)
  %t44 = call i64 @llvm.smin.i64(i64 4, i64 %t43)
  %t45 = trunc i64 %t44 to i32
  %t46 = insertelement <4 x i32> poison, i32 %t45, i32 0
  %t47 = shufflevector <4 x i32> %t46, <4 x i32> poison, <4 x i32> zeroinitializer
  %t48 = icmp slt <4 x i32> <i32 0, i32 1, i32 2, i32 3>, %t47
  %t49 = and <4 x i1> %t42, %t48
  %t50 = and <4 x i1> %t6, %t49
  %t51 = getelementptr i8, ptr %t22, i64 -16
  %t52 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t51, i32 4, <4 x i1> %t50, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t53 = getelementptr i8, ptr %p2, i64 4
  %t54 = load float, ptr %t53, align 4, !alias.scope !9, !noalias !10
  %t55 = insertelement <4 x float> poison, float %t54, i32 0
  %t56 = shufflevector <4 x float> %t55, <4 x float> poison, <4 x i32> zeroinitializer
  %t57 = load <4 x float>, ptr %r27
  %t58 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t52, <4 x float> %t56, <4 x float> %t57)
  store <4 x float> %t58, ptr %r27
  %t59 = getelementptr i8, ptr %p2, i64 40
  %t60 = load float, ptr %t59, align 4, !alias.scope !9, !noalias !10
  %t61 = insertelement <4 x float> poison, float %t60, i32 0
  %t62 = shufflevector <4 x float> %t61, <4 x float> poison, <4 x i32> zeroinitializer
  %t63 = load <4 x float>, ptr %r36
  %t64 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t52, <4 x float> %t62, <4 x float> %t63)
  store <4 x float> %t64, ptr %r36
  %t65 = add i64 %t0, -3
  %t66 = call i64 @llvm.smax.i64(i64 -2, i64 -1)
  %t67 = call i64 @llvm.smin.i64(i64 4, i64 %t66)
  %t68 = trunc i64 %t67 to i32
  %t69 = insertelement <4 x i32> poison, i32 %t68, i32 0
  %t70 = shufflevector <4 x i32> %t69, <4 x i32> poison, <4 x i32> zeroinitializer
  %t71 = icmp slt <4 x i32> %t70, <i32 0, i32 1, i32 2, i32 3>
  %t72 = call i64 @llvm.smax.i64(i64 3, i64 -1)
  %t73 = call i64 @llvm.smin.i64(i64 4, i64 %t72)
  %t74 = trunc i64 %t73 to i32
  %t75 = insertelement <4 x i32> poison, i32 %t74, i32 0
  %t76 = shufflevector <4 x i32> %t75, <4 x i32> poison, <4 x i32> zeroinitializer
  %t77 = icmp slt <4 x i32> <i32 0, i32 1, i32 2, i32 3>, %t76
  %t78 = and <4 x i1> %t71, %t77
  %t79 = and <4 x i1> %t6, %t78
  %t80 = getelementptr i8, ptr %t22, i64 -12
  %t81 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t80, i32 4, <4 x i1> %t79, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t82 = getelementptr i8, ptr %p2, i64 8
  %t83 = load float, ptr %t82, align 4, !alias.scope !9, !noalias !10
  %t84 = insertelement <4 x float> poison, float %t83, i32 0
  %t85 = shufflevector <4 x float> %t84, <4 x float> poison, <4 x i32> zeroinitializer
  %t86 = load <4 x float>, ptr %r28
  %t87 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t81, <4 x float> %t85, <4 x float> %t86)
  store <4 x float> %t87, ptr %r28
  %t88 = getelementptr i8, ptr %p2, i64 44
  %t89 = load float, ptr %t88, align 4, !alias.scope !9, !noalias !10
  %t90 = insertelement <4 x float> poison, float %t89, i32 0
  %t91 = shufflevector <4 x float> %t90, <4 x float> poison, <4 x i32> zeroinitializer
  %t92 = load <4 x float>, ptr %r37
  %t93 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t81, <4 x float> %t91, <4 x float> %t92)
  store <4 x float> %t93, ptr %r37
  %t94 = add i64 %t0, -1
  %t95 = add i64 %grid, 1
  %t96 = icmp slt i64 0, %t95
  %t97 = icmp slt i64 %t95, 5
  %t98 = and i1 %t96, %t97
  %t99 = insertelement <4 x i1> poison, i1 %t98, i32 0
  %t100 = shufflevector <4 x i1> %t99, <4 x i1> poison, <4 x i32> zeroinitializer
  %t101 = and <4 x i1> %t100, %t19
  %t102 = getelementptr i8, ptr %t22, i64 -4
  %t103 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t102, i32 4, <4 x i1> %t101, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t104 = getelementptr i8, ptr %p2, i64 12
  %t105 = load float, ptr %t104, align 4, !alias.scope !9, !noalias !10
  %t106 = insertelement <4 x float> poison, float %t105, i32 0
  %t107 = shufflevector <4 x float> %t106, <4 x float> poison, <4 x i32> zeroinitializer
  %t108 = load <4 x float>, ptr %r29
  %t109 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t103, <4 x float> %t107, <4 x float> %t108)
  store <4 x float> %t109, ptr %r29
  %t110 = getelementptr i8, ptr %p2, i64 48
  %t111 = load float, ptr %t110, align 4, !alias.scope !9, !noalias !10
  %t112 = insertelement <4 x float> poison, float %t111, i32 0
  %t113 = shufflevector <4 x float> %t112, <4 x float> poison, <4 x i32> zeroinitializer
  %t114 = load <4 x float>, ptr %r38
  %t115 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t103, <4 x float> %t113, <4 x float> %t114)
  store <4 x float> %t115, ptr %r38
  %t116 = and <4 x i1> %t100, %t49
  %t117 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t22, i32 4, <4 x i1> %t116, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t118 = getelementptr i8, ptr %p2, i64 16
  %t119 = load float, ptr %t118, align 4, !alias.scope !9, !noalias !10
  %t120 = insertelement <4 x float> poison, float %t119, i32 0
  %t121 = shufflevector <4 x float> %t120, <4 x float> poison, <4 x i32> zeroinitializer
  %t122 = load <4 x float>, ptr %r30
  %t123 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t117, <4 x float> %t121, <4 x float> %t122)
  store <4 x float> %t123, ptr %r30
  %t124 = getelementptr i8, ptr %p2, i64 52
  %t125 = load float, ptr %t124, align 4, !alias.scope !9, !noalias !10
  %t126 = insertelement <4 x float> poison, float %t125, i32 0
  %t127 = shufflevector <4 x float> %t126, <4 x float> poison, <4 x i32> zeroinitializer
  %t128 = load <4 x float>, ptr %r39
  %t129 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t117, <4 x float> %t127, <4 x float> %t128)
  store <4 x float> %t129, ptr %r39
  %t130 = add i64 %t0, 1
  %t131 = and <4 x i1> %t100, %t78
  %t132 = getelementptr i8, ptr %t22, i64 4
  %t133 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t132, i32 4, <4 x i1> %t131, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t134 = getelementptr i8, ptr %p2, i64 20
  %t135 = load float, ptr %t134, align 4, !alias.scope !9, !noalias !10
  %t136 = insertelement <4 x float> poison, float %t135, i32 0
  %t137 = shufflevector <4 x float> %t136, <4 x float> poison, <4 x i32> zeroinitializer
  %t138 = load <4 x float>, ptr %r31
  %t139 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t133, <4 x float> %t137, <4 x float> %t138)
  store <4 x float> %t139, ptr %r31
  %t140 = getelementptr i8, ptr %p2, i64 56
  %t141 = load float, ptr %t140, align 4, !alias.scope !9, !noalias !10
  %t142 = insertelement <4 x float> poison, float %t141, i32 0
  %t143 = shufflevector <4 x float> %t142, <4 x float> poison, <4 x i32> zeroinitializer
  %t144 = load <4 x float>, ptr %r40
  %t145 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t133, <4 x float> %t143, <4 x float> %t144)
  store <4 x float> %t145, ptr %r40
  %t146 = add i64 %t0, 3
  %t147 = add i64 %grid, 2
  %t148 = icmp slt i64 0, %t147
  %t149 = icmp slt i64 %t147, 5
  %t150 = and i1 %t148, %t149
  %t151 = insertelement <4 x i1> poison, i1 %t150, i32 0
  %t152 = shufflevector <4 x i1> %t151, <4 x i1> poison, <4 x i32> zeroinitializer
  %t153 = and <4 x i1> %t152, %t19
  %t154 = getelementptr i8, ptr %t22, i64 12
  %t155 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t154, i32 4, <4 x i1> %t153, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t156 = getelementptr i8, ptr %p2, i64 24
  %t157 = load float, ptr %t156, align 4, !alias.scope !9, !noalias !10
  %t158 = insertelement <4 x float> poison, float %t157, i32 0
  %t159 = shufflevector <4 x float> %t158, <4 x float> poison, <4 x i32> zeroinitializer
  %t160 = load <4 x float>, ptr %r32
  %t161 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t155, <4 x float> %t159, <4 x float> %t160)
  store <4 x float> %t161, ptr %r32
  %t162 = getelementptr i8, ptr %p2, i64 60
  %t163 = load float, ptr %t162, align 4, !alias.scope !9, !noalias !10
  %t164 = insertelement <4 x float> poison, float %t163, i32 0
  %t165 = shufflevector <4 x float> %t164, <4 x float> poison, <4 x i32> zeroinitializer
  %t166 = load <4 x float>, ptr %r41
  %t167 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t155, <4 x float> %t165, <4 x float> %t166)
  store <4 x float> %t167, ptr %r41
  %t168 = add i64 %t0, 4
  %t169 = and <4 x i1> %t152, %t49
  %t170 = getelementptr i8, ptr %t22, i64 16
  %t171 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t170, i32 4, <4 x i1> %t169, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t172 = getelementptr i8, ptr %p2, i64 28
  %t173 = load float, ptr %t172, align 4, !alias.scope !9, !noalias !10
  %t174 = insertelement <4 x float> poison, float %t173, i32 0
  %t175 = shufflevector <4 x float> %t174, <4 x float> poison, <4 x i32> zeroinitializer
  %t176 = load <4 x float>, ptr %r33
  %t177 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t171, <4 x float> %t175, <4 x float> %t176)
  store <4 x float> %t177, ptr %r33
  %t178 = getelementptr i8, ptr %p2, i64 64
  %t179 = load float, ptr %t178, align 4, !alias.scope !9, !noalias !10
  %t180 = insertelement <4 x float> poison, float %t179, i32 0
  %t181 = shufflevector <4 x float> %t180, <4 x float> poison, <4 x i32> zeroinitializer
  %t182 = load <4 x float>, ptr %r42
  %t183 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t171, <4 x float> %t181, <4 x float> %t182)
  store <4 x float> %t183, ptr %r42
  %t184 = add i64 %t0, 5
  %t185 = and <4 x i1> %t152, %t78
  %t186 = getelementptr i8, ptr %t22, i64 20
  %t187 = call <4 x float> @llvm.masked.load.v4f32.p0(ptr %t186, i32 4, <4 x i1> %t185, <4 x float> zeroinitializer), !alias.scope !6, !noalias !7
  %t188 = getelementptr i8, ptr %p2, i64 32
  %t189 = load float, ptr %t188, align 4, !alias.scope !9, !noalias !10
  %t190 = insertelement <4 x float> poison, float %t189, i32 0
  %t191 = shufflevector <4 x float> %t190, <4 x float> poison, <4 x i32> zeroinitializer
  %t192 = load <4 x float>, ptr %r34
  %t193 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t187, <4 x float> %t191, <4 x float> %t192)
  store <4 x float> %t193, ptr %r34
  %t194 = getelementptr i8, ptr %p2, i64 68
  %t195 = load float, ptr %t194, align 4, !alias.scope !9, !noalias !10
  %t196 = insertelement <4 x float> poison, float %t195, i32 0
  %t197 = shufflevector <4 x float> %t196, <4 x float> poison, <4 x i32> zeroinitializer
  %t198 = load <4 x float>, ptr %r43
  %t199 = call <4 x float> @llvm.fma.v4f32(<4 x float> %t187, <4 x float> %t197, <4 x float> %t198)
  store <4 x float> %t199, ptr %r43
  %t200 = load <4 x float>, ptr %r26
  %t201 = load <4 x float>, ptr %r27
  %t202 = load <4 x float>, ptr %r28
  %t203 = load <4 x float>, ptr %r29
  %t204 = load <4 x float>, ptr %r30
  %t205 = load <4 x float>, ptr %r31
  %t206 = load <4 x float>, ptr %r32
  %t207 = load <4 x float>, ptr %r33
  %t208 = load <4 x float>, ptr %r34
  %t209 = fadd contract <4 x float> %t200, %t201
  %t210 = fadd contract <4 x float> %t202, %t203
  %t211 = fadd contract <4 x float> %t204, %t205
  %t212 = fadd contract <4 x float> %t206, %t207
  %t213 = fadd contract <4 x float> %t209, %t210
  %t214 = fadd contract <4 x float> %t211, %t212
  %t215 = fadd contract <4 x float> %t213, %t214
  %t216 = fadd contract <4 x float> %t215, %t208
  %t217 = load <4 x float>, ptr %r35
  %t218 = load <4 x float>, ptr %r36
  %t219 = load <4 x float>, ptr %r37
  %t220 = load <4 x float>, ptr %r38
  %t221 = load <4 x float>, ptr %r39
  %t222 = load <4 x float>, ptr %r40
  %t223 = load <4 x float>, ptr %r41
  %t224 = load <4 x float>, ptr %r42
  %t225 = load <4 x float>, ptr %r43
  %t226 = fadd contract <4 x float> %t217, %t218
  %t227 = fadd contract <4 x float> %t219, %t220
  %t228 = fadd contract <4 x float> %t221, %t222
  %t229 = fadd contract <4 x float> %t223, %t224
  %t230 = fadd contract <4 x float> %t226, %t227
  %t231 = fadd contract <4 x float> %t228, %t229
  %t232 = fadd contract <4 x float> %t230, %t231
  %t233 = fadd contract <4 x float> %t232, %t225
  %t234 = load float, ptr %p3, align 4, !alias.scope !12, !noalias !13
  %t235 = insertelement <4 x float> poison, float %t234, i32 0
  %t236 = shufflevector <4 x float> %t235, <4 x float> poison, <4 x i32> zeroinitializer
  %t237 = fadd contract <4 x float> %t216, %t236
  %t238 = fcmp ogt <4 x float> splat (float 0x0000000000000000), %t237
  %t239 = select <4 x i1> %t238, <4 x float> splat (float 0x0000000000000000), <4 x float> %t237
  %t240 = getelementptr float, ptr %p0, i64 %t21
  store <4 x float> %t239, ptr %t240, align 4, !alias.scope !3, !noalias !4
  %t241 = getelementptr i8, ptr %p3, i64 4
  %t242 = load float, ptr %t241, align 4, !alias.scope !12, !noalias !13
  %t243 = insertelement <4 x float> poison, float %t242, i32 0
  %t244 = shufflevector <4 x float> %t243, <4 x float> poison, <4 x i32> zeroinitializer
  %t245 = fadd contract <4 x float> %t233, %t244
  %t246 = fcmp ogt <4 x float> splat (float 0x0000000000000000), %t245
  %t247 = select <4 x i1> %t246, <4 x float> splat (float 0x0000000000000000), <4 x float> %t245
  %t248 = add i64 %t0, 16
  %t249 = getelementptr i8, ptr %t240, i64 64
  store <4 x float> %t247, ptr %t249, align 4, !alias.scope !3, !noalias !4
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
