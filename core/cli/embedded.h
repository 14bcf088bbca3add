#ifndef KG_CLI_EMBEDDED_H
#define KG_CLI_EMBEDDED_H
/* Files that the build makes part of this program (embed.lua). The arrays end with {0}. */

typedef struct embedded {
  const char *file, *text;
} embedded_t;

extern const embedded_t cli_template[]; /* template/: with @NAME@, and @IDENT@ for the name as C has it */
extern const embedded_t cli_shells[];   /* shells/ */

#endif
