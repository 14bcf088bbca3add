#ifndef KG_SETTINGS_H
#define KG_SETTINGS_H
/* What the configuration file says, checked as a whole before anything starts. */
#include "cli.h"
#include "config.h"

typedef struct settings {
  char *file;
  kg_cfg_t *root;
} settings_t;

/* Finds and reads the file, applies the flags of the command line, checks. 0, or -1 and "FILE:LINE: sentence". */
int settings_read(const cli_t *cli, settings_t *s, kg_error_t *err);
void settings_free(settings_t *s);
/* Prints the flags the configuration declares. */
void settings_help(const settings_t *s);
int64_t settings_int(const settings_t *s, const char *key); /* 0: absent */
const char *settings_text(const settings_t *s, const char *map, const char *key);
kg_level_t settings_level(const settings_t *s);

#endif
