# Shaders that there are once, and once for each weight format.
set(CHOIR_PLAIN_SHADERS
  add adamw add_row add_total attention attention_delta attention_dkv attention_dq dropout embed_grad
  gather_rows glu glu_backward kv_append lane_attention lane_attention_dkv lane_attention_dq lane_cached_attention lane_product
  loss_gradient loss_lse matmul_tn pack pack_vector row_scales scale soft_cap square_sum unpack)
# Of these there is a variant <name>[.<format>].subgroups too, which sums over a workgroup by subgroups.
set(CHOIR_SUBGROUP_SHADERS add_total loss_lse matvec matvec_dot rms_norm rms_norm_backward row_scales square_sum)
set(CHOIR_FORMAT_SHADERS dequantize embed matmul_nn matmul_nn_half matmul_nt matmul_nt_half matvec rms_norm rms_norm_backward rope)

# Of these there is a variant for each format whose folder has a quant_integers.glsl.
set(CHOIR_INTEGER_SHADERS matvec_dot)

# Products by cooperative matrices (matrix_multiply.glsl): for the KHR extension if this compiler takes the shaders
# with it and the headers have it, else for NVIDIA's older one, else none. CHOIR_MATRIX: KHR, NV or empty.
set(CHOIR_MATRIX_SHADERS matmul_nn_matrix matmul_nt_matrix)
# No device that CI has runs them: what checks SPIR-V at least reads them.
find_program(CHOIR_SPIRV_VAL spirv-val)
set(choir_shader_source_dir ${CMAKE_CURRENT_LIST_DIR}/shaders)

function(choir_probe_matrix extension result)
  get_target_property(glslc Vulkan::glslc IMPORTED_LOCATION)
  set(${result} ON)
  foreach(name ${CHOIR_MATRIX_SHADERS})
    set(probe ${CMAKE_CURRENT_BINARY_DIR}/probe_${name}_${extension}.spv)
    execute_process(COMMAND ${glslc} --target-env=vulkan1.1 -DMATRIX_${extension} -I ${choir_shader_source_dir}
                            -I ${choir_shader_source_dir}/quant/f32 -o ${probe} ${choir_shader_source_dir}/${name}.comp
      RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(NOT failed AND CHOIR_SPIRV_VAL)
      execute_process(COMMAND ${CHOIR_SPIRV_VAL} --target-env vulkan1.1 ${probe}
        RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    endif()
    if(failed)
      set(${result} OFF)
    endif()
  endforeach()
  set(${result} ${${result}} PARENT_SCOPE)
endfunction()

choir_probe_matrix(KHR compiles_khr)
choir_probe_matrix(NV compiles_nv)
file(STRINGS ${Vulkan_INCLUDE_DIR}/vulkan/vulkan_core.h khr_header REGEX "define VK_KHR_cooperative_matrix 1")
if(compiles_khr AND khr_header)
  set(CHOIR_MATRIX KHR)
elseif(compiles_nv)
  set(CHOIR_MATRIX NV)
else()
  set(CHOIR_MATRIX "")
  set(CHOIR_MATRIX_SHADERS "")
endif()

# choir_shaders(<target> [SOURCE_DIR dir] [QUANT_DIR dir] FORMATS ... PLAIN ... PER_FORMAT ... INTEGERS ...
#               SUBGROUPS ...)
# Compiles <SOURCE_DIR>/<name>.comp (default: shaders here) with glslc, those PER_FORMAT once a weight
# format (its folder of <QUANT_DIR>, else of <SOURCE_DIR>/quant, on the include path), INTEGERS for
# formats that have them, those in SUBGROUPS a second time with SUBGROUPS defined, and writes <target>.cc with AllShaders() (shader_table.h).
function(choir_shaders target)
  cmake_parse_arguments(S "" "SOURCE_DIR;QUANT_DIR" "FORMATS;PLAIN;PER_FORMAT;INTEGERS;SUBGROUPS" ${ARGN})
  set(source_dir ${CMAKE_CURRENT_SOURCE_DIR}/shaders)
  if(S_SOURCE_DIR)
    set(source_dir ${S_SOURCE_DIR})
  endif()
  set(quant_dirs ${S_QUANT_DIR} ${source_dir}/quant)
  set(binary_dir ${CMAKE_CURRENT_BINARY_DIR}/shaders)
  file(MAKE_DIRECTORY ${binary_dir})
  set(variants "")
  foreach(name ${S_PLAIN})
    list(APPEND variants "${name}|${name}||")
    if(name IN_LIST S_SUBGROUPS)
      list(APPEND variants "${name}.subgroups|${name}||-DSUBGROUPS")
    endif()
  endforeach()
  set(with_integers "")
  foreach(format ${S_FORMATS})
    foreach(dir ${quant_dirs})
      if(EXISTS ${dir}/${format}/quant_integers.glsl)
        list(APPEND with_integers ${format})
        break()
      endif()
    endforeach()
  endforeach()
  foreach(name ${S_PER_FORMAT} ${S_INTEGERS})
    set(formats ${S_FORMATS})
    set(define "")
    if(name IN_LIST CHOIR_MATRIX_SHADERS)
      set(define -DMATRIX_${CHOIR_MATRIX})
    endif()
    if(name IN_LIST S_INTEGERS)
      set(formats ${with_integers})
    endif()
    foreach(format ${formats})
      list(APPEND variants "${name}.${format}|${name}|${format}|${define}")
      if(name IN_LIST S_SUBGROUPS)
        list(APPEND variants "${name}.${format}.subgroups|${name}|${format}|-DSUBGROUPS")
      endif()
    endforeach()
  endforeach()
  list(SORT variants)

  set(outputs "")
  set(arrays "")
  set(rows "")
  foreach(variant ${variants})
    string(REPLACE "|" ";" fields "${variant}")
    list(GET fields 0 full_name)
    list(GET fields 1 name)
    list(GET fields 2 format)
    list(GET fields 3 define)
    set(output ${binary_dir}/${full_name}.inc)
    set(quant_include "")
    if(format)
      foreach(dir ${quant_dirs})
        list(APPEND quant_include -I ${dir}/${format})
      endforeach()
    endif()
    add_custom_command(OUTPUT ${output}
      COMMAND Vulkan::glslc -O --target-env=vulkan1.1 -mfmt=num ${define} -I ${source_dir} ${quant_include}
              -MD -MF ${output}.d -o ${output} ${source_dir}/${name}.comp
      DEPENDS ${source_dir}/${name}.comp DEPFILE ${output}.d
      COMMENT "Compiling shader ${full_name}" VERBATIM)
    if(name IN_LIST CHOIR_MATRIX_SHADERS AND CHOIR_SPIRV_VAL)
      add_custom_command(OUTPUT ${output} APPEND
        COMMAND Vulkan::glslc -O --target-env=vulkan1.1 ${define} -I ${source_dir} ${quant_include}
                -o ${output}.spv ${source_dir}/${name}.comp
        COMMAND ${CHOIR_SPIRV_VAL} --target-env vulkan1.1 ${output}.spv)
    endif()
    list(APPEND outputs ${output})
    string(MAKE_C_IDENTIFIER ${full_name} identifier)
    string(APPEND arrays "constexpr uint32_t k_${identifier}[] = {\n#include \"${output}\"\n};\n")
    string(APPEND rows "    {\"${full_name}\", k_${identifier}},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${target}.cc CONTENT
"#include \"engine/backend/vulkan/shader_table.h\"

namespace choir::engine::vulkan {
namespace {

${arrays}
constexpr ShaderCode kShaders[] = {
${rows}};

}  // namespace

std::span<const ShaderCode> AllShaders() { return kShaders; }

}  // namespace choir::engine::vulkan
" @ONLY)
  set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/${target}.cc PROPERTIES
    OBJECT_DEPENDS "${outputs}")
  add_custom_target(${target} DEPENDS ${outputs})
endfunction()
