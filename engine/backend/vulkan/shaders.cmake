# Shaders that there are once, and once for each weight format.
set(CHOIR_PLAIN_SHADERS
  add adamw add_row add_total attention attention_delta attention_dkv attention_dq dropout embed_grad
  gather_rows glu glu_backward kv_append lane_attention lane_attention_dkv lane_attention_dq lane_product
  loss_gradient loss_lse matmul_tn row_scales scale soft_cap square_sum)
# Of these there is a variant <name>[.<format>].subgroups too, which sums over a workgroup by subgroups.
set(CHOIR_SUBGROUP_SHADERS add_total loss_lse matvec rms_norm rms_norm_backward row_scales square_sum)
set(CHOIR_FORMAT_SHADERS dequantize embed matmul_nn matmul_nn_half matmul_nt matmul_nt_half matvec rms_norm rms_norm_backward rope)

# choir_shaders(<target> [SOURCE_DIR dir] [QUANT_DIR dir] FORMATS ... PLAIN ... PER_FORMAT ... SUBGROUPS ...)
# Compiles <SOURCE_DIR>/<name>.comp (default: shaders here) with glslc, those PER_FORMAT once a weight
# format (its folder of <QUANT_DIR>, else of <SOURCE_DIR>/quant, on the include path), those in
# SUBGROUPS a second time with SUBGROUPS defined, and writes <target>.cc with AllShaders() (shader_table.h).
function(choir_shaders target)
  cmake_parse_arguments(S "" "SOURCE_DIR;QUANT_DIR" "FORMATS;PLAIN;PER_FORMAT;SUBGROUPS" ${ARGN})
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
  foreach(name ${S_PER_FORMAT})
    foreach(format ${S_FORMATS})
      list(APPEND variants "${name}.${format}|${name}|${format}|")
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
