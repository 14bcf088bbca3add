/* kogge plugin new NAME [--dir D]: a folder with a plugin that builds outside of this tree. */
#include "embedded.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define NAME_MAX_LENGTH 63

/* The name becomes a service, a file, and a word of C. */
static int check_name(const char *name, kg_error_t *err) {
  size_t n = strlen(name);
  if (!n || n > NAME_MAX_LENGTH)
    return kg_error_set(err, KG_EINVAL, "a plugin's name has 1 to %d letters, not %zu", NAME_MAX_LENGTH, n);
  if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != n || name[0] < 'a' || name[n - 1] == '-')
    return kg_error_set(err, KG_EINVAL,
                        "a plugin's name is of a-z, 0-9 and -, begins with a letter and ends with none of -: not %s",
                        name);
  if (strcmp(name, "kernel") == 0 || strcmp(name, "host") == 0)
    return kg_error_set(err, KG_EINVAL, "the name %s belongs to the kernel", name);
  return 0;
}

static void put(FILE *f, const char *text, const char *name, const char *ident) {
  for (const char *at; (at = strchr(text, '@')) != NULL; text = at) {
    fwrite(text, 1, (size_t)(at - text), f);
    if (strncmp(at, "@NAME@", 6) == 0)
      fputs(name, f), at += 6;
    else if (strncmp(at, "@IDENT@", 7) == 0)
      fputs(ident, f), at += 7;
    else
      fputc(*at++, f);
  }
  fputs(text, f);
}

static int write_file(const char *dir, const embedded_t *t, const char *name, const char *ident, kg_error_t *err) {
  char path[PATH_MAX];
  bool source = strcmp(t->file, "NAME.c.in") == 0;
  int n = snprintf(path, sizeof path, "%s/%s%s", dir, source ? name : t->file, source ? ".c" : "");
  if (n >= (int)sizeof path) return kg_error_set(err, KG_EINVAL, "the path %s is too long", dir);
  FILE *f = fopen(path, "wxe");
  if (f) put(f, t->text, name, ident);
  bool bad = !f || ferror(f);
  if (f && fclose(f) != 0) bad = true;
  return bad ? kg_error_set(err, KG_EINVAL, "%s cannot be written: %s", path, strerror(errno)) : 0;
}

static int make(const char *name, const char *dir, kg_error_t *err) {
  char ident[NAME_MAX_LENGTH + 1];
  if (check_name(name, err) < 0) return -1;
  snprintf(ident, sizeof ident, "%s", name);
  for (char *dash; (dash = strchr(ident, '-')) != NULL;) *dash = '_';
  if (mkdir(dir, 0777) < 0 && errno == EEXIST)
    return kg_error_set(err, KG_ECONFLICT, "%s is there already, nothing was written", dir);
  if (access(dir, W_OK) < 0)
    return kg_error_set(err, KG_EINVAL, "the folder %s cannot be made: %s", dir, strerror(errno));
  for (const embedded_t *t = cli_template; t->file; t++)
    if (write_file(dir, t, name, ident, err) < 0) return -1;
  return 0;
}

int cli_plugin_new(cli_t *cli, int argc, char **argv) {
  (void)cli;
  const char *name = NULL, *dir = NULL;
  kg_error_t err = {0};
  for (int i = 0; i < argc; i++)
    if (!cli_option("--dir", argv, argc, &i, &dir)) name = argv[i];
  if (make(name, dir ? dir : name, &err) < 0) {
    fprintf(stderr, "kogge: %s\n", err.text);
    return 1;
  }
  printf("plugin %s is in %s: see README.md there\n", name, dir ? dir : name);
  return 0;
}
