#ifndef POLICY_PATTERN_H
#define POLICY_PATTERN_H
/* Lua's patterns with a matcher of our own: it counts its steps, and a pattern that would run for ever ends with an
 * error. (Lua's own cannot be interrupted.) */
#include "internal.h"

#define PATTERN_CAPTURES 32
enum { CAPTURE_POSITION = -2, CAPTURE_OPEN = -1 };

typedef struct pattern {
  lua_State *L;
  const char *subject, *subject_end;
  const char *p, *p_end; /* the pattern, without its anchor */
  bool anchored;
  int level, depth;
  struct {
    const char *start;
    ptrdiff_t len;
  } capture[PATTERN_CAPTURES];
} pattern_t;

/* Match at exactly `at`: its end, or NULL. */
const char *pattern_at(pattern_t *m, const char *at);
/* The first match at or after `from`: its start, and its end in *end; NULL: none. */
const char *pattern_find(pattern_t *m, const char *from, const char **end);
/* Pushes capture i, or the whole match if there are no captures and i is 0. */
void pattern_push(pattern_t *m, int i, const char *start, const char *end);
/* Pushes all captures (the whole match if there are none and `whole`); returns how many. */
int pattern_push_all(pattern_t *m, const char *start, const char *end, bool whole);

#endif
