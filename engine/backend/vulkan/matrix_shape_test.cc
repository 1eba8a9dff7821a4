#include "engine/backend/vulkan/matrix_shape.h"

#include <gtest/gtest.h>

#include "engine/backend/vulkan/shader_table.h"

namespace choir::engine::vulkan {
namespace {

TEST(MatrixShapeTest, SixteenCubedComesFirst) {
  EXPECT_EQ(BestMatrixShape({{16, 8, 16}, {16, 16, 16}, {8, 32, 16}}), (MatrixShape{16, 16, 16}));
}

TEST(MatrixShapeTest, ElseTheLargestThatTheShaderDivides) {
  EXPECT_EQ(BestMatrixShape({{8, 8, 16}, {8, 16, 16}, {12, 16, 16}}), (MatrixShape{8, 16, 16}));
}

TEST(MatrixShapeTest, ShapesThatDoNotFitAreNone) {
  EXPECT_EQ(BestMatrixShape({}), MatrixShape{});
  EXPECT_EQ(BestMatrixShape({{32, 32, 16}, {64, 16, 16}, {16, 16, 64}, {16, 16, 0}}),
            MatrixShape{});
}

TEST(MatrixShapeTest, ThereAreShadersExactlyWhereTheBuildNamesTheExtension) {
  const bool named = *MatrixExtension() != '\0';
  EXPECT_EQ(FindShader("matmul_nt_matrix.q8_0") != nullptr, named);
  EXPECT_EQ(FindShader("matmul_nn_matrix.q8_0") != nullptr, named);
}

}  // namespace
}  // namespace choir::engine::vulkan
