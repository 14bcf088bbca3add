/* A shared library that is no plugin. */
#include "kogge/plugin.h"

__attribute__((visibility("default"))) int not_a_plugin = 1;
