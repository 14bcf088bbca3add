#include "pattern.h"

#include <ctype.h>
#include <string.h>

#define MAX_PATTERN_DEPTH 200

static const char *match(pattern_t *m, const char *s, const char *p);

static unsigned char byte(const char *s) {
  return (unsigned char)*s;
}

/* --- one character --------------------------------------------------------------------------------------------------
 */

/* What follows the single-character item at p. */
static const char *item_end(pattern_t *m, const char *p) {
  char c = *p++;
  if (c == '%') {
    if (p == m->p_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (c != '[') return p;
  if (p < m->p_end && *p == '^') p++;
  do { /* a ] that comes first stands for itself */
    if (p == m->p_end) luaL_error(m->L, "malformed pattern (missing ']')");
    if (*p++ == '%') {
      if (p == m->p_end) luaL_error(m->L, "malformed pattern (missing ']')");
      p++;
    }
  } while (p == m->p_end || *p != ']');
  return p + 1;
}

static bool in_class(int c, int class) {
  bool in;
  switch (tolower(class)) {
  case 'a':
    in = isalpha(c);
    break;
  case 'c':
    in = iscntrl(c);
    break;
  case 'd':
    in = isdigit(c);
    break;
  case 'g':
    in = isgraph(c);
    break;
  case 'l':
    in = islower(c);
    break;
  case 'p':
    in = ispunct(c);
    break;
  case 's':
    in = isspace(c);
    break;
  case 'u':
    in = isupper(c);
    break;
  case 'w':
    in = isalnum(c);
    break;
  case 'x':
    in = isxdigit(c);
    break;
  default:
    return class == c;
  }
  return isupper(class) ? !in : in;
}

/* [set] from its bracket to the closing one. */
static bool in_set(int c, const char *p, const char *close) {
  bool yes = true;
  if (*++p == '^') {
    yes = false;
    p++;
  }
  for (; p < close; p++) {
    if (*p == '%') {
      if (in_class(c, byte(++p))) return yes;
    } else if (p + 2 < close && p[1] == '-') {
      if (byte(p) <= c && c <= byte(p + 2)) return yes;
      p += 2;
    } else if (byte(p) == c) {
      return yes;
    }
  }
  return !yes;
}

static bool fits(const pattern_t *m, const char *s, const char *p, const char *end) {
  if (s >= m->subject_end) return false;
  int c = byte(s);
  switch (*p) {
  case '.':
    return true;
  case '%':
    return in_class(c, byte(p + 1));
  case '[':
    return in_set(c, p, end - 1);
  default:
    return byte(p) == c;
  }
}

/* --- captures -------------------------------------------------------------------------------------------------------
 */

static const char *open_capture(pattern_t *m, const char *s, const char *p, ptrdiff_t what) {
  if (m->level >= PATTERN_CAPTURES) luaL_error(m->L, "too many captures");
  m->capture[m->level].start = s;
  m->capture[m->level].len = what;
  m->level++;
  const char *end = match(m, s, p);
  if (!end) m->level--;
  return end;
}

static const char *close_capture(pattern_t *m, const char *s, const char *p) {
  int i = m->level - 1;
  while (i >= 0 && m->capture[i].len != CAPTURE_OPEN) i--;
  if (i < 0) luaL_error(m->L, "invalid pattern capture");
  m->capture[i].len = s - m->capture[i].start;
  const char *end = match(m, s, p);
  if (!end) m->capture[i].len = CAPTURE_OPEN;
  return end;
}

static const char *again(pattern_t *m, const char *s, int digit) {
  int i = digit - '1';
  if (i < 0 || i >= m->level || m->capture[i].len < 0) luaL_error(m->L, "invalid capture index %%%d", i + 1);
  size_t n = (size_t)m->capture[i].len;
  policy_charge(m->L, n / 16);
  bool same = (size_t)(m->subject_end - s) >= n && memcmp(m->capture[i].start, s, n) == 0;
  return same ? s + n : NULL;
}

/* --- repetitions ----------------------------------------------------------------------------------------------------
 */

static const char *balanced(pattern_t *m, const char *s, const char *p) {
  if (m->p_end - p < 2) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->subject_end || *s != p[0]) return NULL;
  int open = 1;
  for (const char *c = s + 1; c < m->subject_end; c++) {
    if (*c == p[1]) {
      if (--open == 0) {
        policy_charge(m->L, (uint64_t)(c - s));
        return c + 1;
      }
    } else if (*c == p[0]) {
      open++;
    }
  }
  policy_charge(m->L, (uint64_t)(m->subject_end - s));
  return NULL;
}

static const char *longest(pattern_t *m, const char *s, const char *p, const char *end) {
  ptrdiff_t n = 0;
  while (fits(m, s + n, p, end)) n++;
  policy_charge(m->L, (uint64_t)n);
  for (; n >= 0; n--) {
    const char *found = match(m, s + n, end + 1);
    if (found) return found;
  }
  return NULL;
}

static const char *shortest(pattern_t *m, const char *s, const char *p, const char *end) {
  for (;; s++) {
    const char *found = match(m, s, end + 1);
    if (found) return found;
    if (!fits(m, s, p, end)) return NULL;
  }
}

static bool frontier(pattern_t *m, const char *s, const char *p, const char **next) {
  if (p >= m->p_end || *p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
  *next = item_end(m, p);
  int before = s == m->subject ? 0 : byte(s - 1), now = s < m->subject_end ? byte(s) : 0;
  return !in_set(before, p, *next - 1) && in_set(now, p, *next - 1);
}

/* A single character with what may follow it. Sets *s and *p and returns true to go on, else *end is the result. */
static bool single(pattern_t *m, const char **s, const char **p, const char **end) {
  const char *after = item_end(m, *p);
  char how = after < m->p_end ? *after : 0;
  bool fit = fits(m, *s, *p, after);
  *end = NULL;
  switch (how) {
  case '?':
    if (fit && (*end = match(m, *s + 1, after + 1)) != NULL) return false;
    *p = after + 1;
    return true;
  case '+':
    *end = fit ? longest(m, *s + 1, *p, after) : NULL;
    return false;
  case '*':
    *end = longest(m, *s, *p, after);
    return false;
  case '-':
    *end = shortest(m, *s, *p, after);
    return false;
  default:
    if (!fit) return false;
    *s += 1;
    *p = after;
    return true;
  }
}

static const char *walk(pattern_t *m, const char *s, const char *p) {
  const char *end;
  while (p < m->p_end) {
    policy_charge(m->L, 1);
    bool escaped = *p == '%' && p + 1 < m->p_end;
    if (*p == '(') {
      bool position = p + 1 < m->p_end && p[1] == ')';
      return position ? open_capture(m, s, p + 2, CAPTURE_POSITION) : open_capture(m, s, p + 1, CAPTURE_OPEN);
    }
    if (*p == ')') return close_capture(m, s, p + 1);
    if (*p == '$' && p + 1 == m->p_end) return s == m->subject_end ? s : NULL;
    if (escaped && p[1] == 'b') {
      if (!(s = balanced(m, s, p + 2))) return NULL;
      p += 4;
    } else if (escaped && p[1] == 'f') {
      if (!frontier(m, s, p + 2, &p)) return NULL;
    } else if (escaped && isdigit(byte(p + 1))) {
      if (!(s = again(m, s, p[1]))) return NULL;
      p += 2;
    } else if (!single(m, &s, &p, &end)) {
      return end;
    }
  }
  return s;
}

static const char *match(pattern_t *m, const char *s, const char *p) {
  if (++m->depth > MAX_PATTERN_DEPTH) luaL_error(m->L, "pattern too complex");
  const char *end = walk(m, s, p);
  m->depth--;
  return end;
}

/* --- for the functions ----------------------------------------------------------------------------------------------
 */

const char *pattern_at(pattern_t *m, const char *at) {
  m->level = m->depth = 0;
  return match(m, at, m->p);
}

const char *pattern_find(pattern_t *m, const char *from, const char **end) {
  do {
    policy_charge(m->L, 1);
    if ((*end = pattern_at(m, from)) != NULL) return from;
  } while (from++ < m->subject_end && !m->anchored);
  return NULL;
}

void pattern_push(pattern_t *m, int i, const char *start, const char *end) {
  if (i >= m->level) {
    if (i) luaL_error(m->L, "invalid capture index %%%d", i + 1);
    lua_pushlstring(m->L, start, (size_t)(end - start));
  } else if (m->capture[i].len == CAPTURE_POSITION) {
    lua_pushinteger(m->L, m->capture[i].start - m->subject + 1);
  } else if (m->capture[i].len == CAPTURE_OPEN) {
    luaL_error(m->L, "unfinished capture");
  } else {
    lua_pushlstring(m->L, m->capture[i].start, (size_t)m->capture[i].len);
  }
}

int pattern_push_all(pattern_t *m, const char *start, const char *end, bool whole) {
  int n = m->level ? m->level : whole;
  luaL_checkstack(m->L, n, "too many captures");
  for (int i = 0; i < n; i++) pattern_push(m, i, start, end);
  return n;
}
