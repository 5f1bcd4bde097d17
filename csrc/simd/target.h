/* Compile what stands between TARGET_BEGIN("...") and TARGET_END for an instruction set.
   The intrinsics' header must have been included before. */
#define CLSTM_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define TARGET_BEGIN(features) \
    CLSTM_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TARGET_END _Pragma("clang attribute pop")
#else
#define TARGET_BEGIN(features) _Pragma("GCC push_options") CLSTM_PRAGMA(GCC target(features))
#define TARGET_END _Pragma("GCC pop_options")
#endif
