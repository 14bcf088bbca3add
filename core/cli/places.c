/* Where things lie: beside this program in the build's folder, or under the prefix it was installed to. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

void cli_place(const cli_t *cli, const char *built, const char *installed, char out[PATH_MAX]) {
  const char *slash = strrchr(cli->self, '/');
  int n = slash ? (int)(slash - cli->self) : 1;
  const char *dir = slash ? cli->self : ".";
  if (snprintf(out, PATH_MAX, "%.*s/%s", n, dir, built) < PATH_MAX && access(out, R_OK) == 0) return;
  snprintf(out, PATH_MAX, "%.*s/%s", n, dir, installed);
}

/* The folder of the plugins that came with this program. */
static void own_plugins(const cli_t *cli, char out[PATH_MAX]) {
  cli_place(cli, "plugins", "../" KOGGE_LIBDIR "/kogge/plugins", out);
}

char *cli_plugin_path(const cli_t *cli, const char *first) {
  char own[PATH_MAX], *path;
  own_plugins(cli, own);
  return asprintf(&path, "%s%s%s", first ? first : "", first ? ":" : "", own) < 0 ? NULL : path;
}
