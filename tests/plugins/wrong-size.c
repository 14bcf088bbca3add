/* Its descriptor is shorter than the kernel's. */
#include "kogge/plugin.h"

__attribute__((visibility("default"))) const kg_plugin_t kogge_plugin = {.magic = KG_PLUGIN_MAGIC,
                                                                         .abi = KG_PLUGIN_ABI,
                                                                         .size = sizeof(kg_plugin_t) - 8,
                                                                         .name = "wrong-size",
                                                                         .role = "hello",
                                                                         .version = "9"};
