/*
** plan: what the fault proxy does next, and where it writes down what it saw.
**
** FOLDER/plan is read anew whenever another file is renamed over it. Lines, in
** any order but for the steps:
**
**   id 7                     of its log, FOLDER/log.7
**   seed 1                   draws the places where something is cut
**   certificate PATH         chain and key in one file (PEM)
**   protocol 1.1             of TLS, no other; 0: what OpenSSL does by itself
**   listen4 open             or refuse, or full; listen6 alike
**   forever 1                the last step stays; else all goes well after it
**   step key=value ...       see `step` below; names in plan.c
**   base key=value ...       how all goes well; steps, after it, add to it
**
** A step with `connect` is used up by a connection, every other one by a
** request. The steps and the log may be used from any thread; the rest belongs
** to the thread that calls plan_look.
*/
#ifndef plan_h
#define plan_h

#include <stddef.h>

#define PLAN_PATH_LEN 256

/* How much of a request is read, of an answer sent; or so many bytes. */
enum { ALL = -1, HEAD = -2, BODY = -3 };

/* How an address listens: REFUSE is bound and does not listen, FULL has a
** queue of connections that nobody accepts. */
enum { REFUSE, OPEN, FULL };

/* How a connection goes on or ends, or what it does in place of a handshake. */
enum {
  KEEP,
  CLOSE, /* in order */
  CUT,   /* without TLS's word for it */
  RESET, /* at once, whatever is on its way */
  STALL, /* never, until the client gives up */
  MUTE,  /* accepted, and nothing more */
  HELLO, /* reset when the client has said hello */
  PLAIN, /* an answer without TLS */
  UNREAD /* handshake, then reset with nothing read */
};

/* What a server may go on with for ever. */
enum { CHUNKS = 1, LINES };

typedef struct step {
  int connect;  /* one of the above; KEEP: all goes well */
  int read;     /* of the request; less than ALL: then `end` */
  int read_us;  /* pause after each byte read; -1: none, byte by byte */
  int forward;  /* 1: the sandbox is asked */
  int stall_ms; /* before the answer; ALL: for ever */
  int hold;     /* 1: no answer before FOLDER/go is there */
  int send;     /* of the answer */
  int slice;    /* bytes sent at a time; 0: all at once */
  int slice_us; /* pause after each */
  int endless;  /* what follows the answer without end; see CHUNKS */
  int end;
  char answer[PLAN_PATH_LEN]; /* a file in place of the sandbox's answer */
  unsigned draw;              /* a random number of its own */
  int plan_id;                /* of the plan it was taken from */
} step;

typedef struct plan_settings {
  int id;
  int protocol; /* TLS1_1_VERSION, or 0 */
  int modes[2]; /* of IPv4, of IPv6 */
  char certificate[PLAN_PATH_LEN];
} plan_settings;

/* Names the folder; before anything else. */
void plan_open(const char *folder);

/* Reads the plan if that is a new one: its settings, else NULL. */
const plan_settings *plan_look(void);

/* Opens the log of the plan: who wrote the plan waits for it. */
void plan_begin(void);

/* The id of the plan that holds. */
int plan_id(void);

/* The next step, if that is one for a connection (or for a request); else one
** with which all goes well. */
step plan_take(int is_connection);

/* Is FOLDER/go there, or FOLDER/end? */
int plan_goes(void);
int plan_ends(void);

/* Writes a line into the log of a plan, if that one still holds. */
void plan_note(int id, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says what the system will not do, and ends the process. */
void plan_fail(const char *what) __attribute__((noreturn));

#endif
