#ifndef KG_CLI_NEW_H
#define KG_CLI_NEW_H
/* The files of `kogge plugin new`: core/cli/template/, made part of this program by the build. */

typedef struct template {
  const char *file, *text; /* with @NAME@, and @IDENT@ for the name as C has it */
}
template_t;

extern const template_t cli_template[]; /* ends with {0} */

#endif
