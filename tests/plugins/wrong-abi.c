/* Was built for a plugin interface that does not exist yet. */
#include "kogge/plugin.h"

__attribute__((visibility("default"))) const kg_plugin_t kogge_plugin = {.magic = KG_PLUGIN_MAGIC,
                                                                         .abi = 77,
                                                                         .size = sizeof(kg_plugin_t),
                                                                         .name = "wrong-abi",
                                                                         .role = "hello",
                                                                         .version = "9"};
