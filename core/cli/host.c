/* kogge plugin-host: a process for one plugin. Today that is the trial. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cli_plugin_host(int argc, char **argv) {
  const char *file = NULL, *name = "trial";
  for (int i = 0; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--trial") == 0)
      file = argv[i + 1];
    else if (strcmp(argv[i], "--name") == 0)
      name = argv[i + 1];
  }
  if (!file) {
    fprintf(stderr, "usage: kogge plugin-host --trial FILE [--name NAME] <CONFIG-IN-MSGPACK 3>REPORT\n");
    return 2;
  }
  static uint8_t buf[1 << 20];
  size_t size = 0;
  if (!isatty(0))
    for (ssize_t n; size < sizeof buf && (n = read(0, buf + size, sizeof buf - size)) > 0;) size += (size_t)n;
  kg_doc_t *config = size && kg_doc_check(buf, size, NULL) == 0 ? kg_doc_copy(buf, size) : NULL;
  int code = kg_trial_run(file, name, config, 3);
  kg_doc_unref(config);
  return code;
}
