/* A load that knows what it did.
 *
 *   load run NAME CTL [cpu_msec=N] [memory_mib=N] [file=PATH write_mib=N read_mib=N steps=N
 *        step_msec=N] [udp=ADDRESS:PORT datagrams=N] [tcp=ADDRESS:PORT tcp_mib=N tcp_short_mib=N]
 *        [calls=ADDRESS:PORT call_count=N call_kib=N call_msec=N] [exit]
 *   load echo PORT
 *   load sink PORT
 *   load posts PORT
 *   load pause
 *   load churn PARENT FIRST A_SECOND SECONDS LIFE_MSEC
 *
 * `run` prepares (memory touched, file laid out), makes CTL/NAME.ready, waits until nobody holds
 * CTL/go open for writing, works, and leaves CTL/NAME.done, a JSON object of what it measured. It
 * then stays until CTL/stop is let go of in the same way, and leaves CTL/NAME.after with the CPU
 * time until then; or with `exit` leaves at once.
 *
 * `posts` takes whatever is posted over HTTP with 201, as cheaply as can be, and when it is told to
 * end (SIGTERM) prints how many posts there were.
 *
 * `churn` makes pods below the cgroup PARENT, A_SECOND of them, each with one container and one
 * process that lives for LIFE_MSEC, and prints how many it made, in how many
 * milliseconds, and how many stood at once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1UL << 20)
/* Of an Ethernet frame with a UDP datagram: what an interface counts beside the payload. */
#define FRAME_HEADERS (14 + 20 + 8)
#define ASK_BYTES 1400
#define ANSWER_BYTES 700

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static unsigned long cpu_usec(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000UL +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static unsigned long clock_usec(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000UL + at.tv_nsec / 1000;
}

static void burn(unsigned long usec) {
    unsigned long end = clock_usec(CLOCK_PROCESS_CPUTIME_ID) + usec;
    volatile unsigned long work = 0;
    while (clock_usec(CLOCK_PROCESS_CPUTIME_ID) < end)
        for (int i = 0; i < 20000; i++) work += i;
}

/* Blocks until every writer of the FIFO is gone. */
static void wait_for_end_of(int fifo) {
    char byte;
    while (read(fifo, &byte, 1) != 0)
        if (errno != EINTR) die("waiting");
}

static int open_below(const char *dir, const char *name, const char *suffix, int flags) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s%s", dir, name, suffix);
    int fd = open(path, flags | O_CLOEXEC, 0644);
    if (fd < 0) die(path);
    return fd;
}

/* Also a gate that has been opened already: without O_NONBLOCK, that would wait for a writer. */
static int open_gate(const char *ctl, const char *name) {
    int fd = open_below(ctl, name, "", O_RDONLY | O_NONBLOCK);
    fcntl(fd, F_SETFL, 0);
    return fd;
}

static const char *option(int argc, char **argv, const char *key) {
    size_t length = strlen(key);
    for (int i = 4; i < argc; i++)
        if (!strncmp(argv[i], key, length) && (argv[i][length] == '=' || !argv[i][length]))
            return argv[i][length] ? argv[i] + length + 1 : "";
    return NULL;
}

static unsigned long number(int argc, char **argv, const char *key) {
    const char *text = option(argc, argv, key);
    return text ? strtoul(text, NULL, 10) : 0;
}

static unsigned long transfer(int fd, char *buffer, unsigned long mib, unsigned long room, int in) {
    unsigned long bytes = 0;
    for (unsigned long i = 0; i < mib; i++) {
        off_t at = (off_t)(i % room * MIB);
        ssize_t done = in ? pread(fd, buffer, MIB, at) : pwrite(fd, buffer, MIB, at);
        if (done != (ssize_t)MIB) die(in ? "read" : "write");
        bytes += done;
    }
    return bytes;
}

static struct sockaddr_in address_of(const char *to, const char *form) {
    char address[64];
    snprintf(address, sizeof address, "%s", to);
    char *colon = strchr(address, ':');
    if (!colon) die(form);
    *colon = 0;
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
    inet_pton(AF_INET, address, &peer.sin_addr);
    return peer;
}

static void talk(const char *to, unsigned long datagrams, unsigned long *sent, unsigned long *got) {
    struct sockaddr_in peer = address_of(to, "udp=ADDRESS:PORT");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) die("connect");
    char bytes[ASK_BYTES] = {0};
    for (unsigned long i = 0; i < datagrams; i++) {
        if (send(fd, bytes, ASK_BYTES, 0) != ASK_BYTES) die("send");
        *sent += ASK_BYTES + FRAME_HEADERS;
        /* One at a time, so that no queue overflows and both ends know the same count. */
        if (recv(fd, bytes, sizeof bytes, 0) != ANSWER_BYTES) die("recv");
        *got += ANSWER_BYTES + FRAME_HEADERS;
    }
    close(fd);
}

static int tcp_connect(const char *to) {
    struct sockaddr_in peer = address_of(to, "tcp=ADDRESS:PORT");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) die("connect");
    return fd;
}

static unsigned long pour(int fd, unsigned long bytes) {
    static char space[64 << 10];
    unsigned long done = 0;
    while (done < bytes) {
        unsigned long want = bytes - done < sizeof space ? bytes - done : sizeof space;
        ssize_t sent = send(fd, space, want, 0);
        if (sent <= 0) die("send");
        done += sent;
    }
    return done;
}

/* Says that all is sent, and waits until the other end has read it and says the same. */
static void finish(int fd) {
    char byte;
    shutdown(fd, SHUT_WR);
    while (read(fd, &byte, 1) > 0) {
    }
    close(fd);
}

/* Connections one after the other, each open for so long. */
static unsigned long call(const char *to, unsigned long count, unsigned long bytes, unsigned msec) {
    unsigned long sent = 0;
    for (unsigned long i = 0; i < count; i++) {
        int fd = tcp_connect(to);
        sent += pour(fd, bytes);
        usleep(msec * 1000);
        finish(fd);
    }
    return sent;
}

/* Reads whatever comes over TCP, a process a connection. */
static _Noreturn void sink(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&self, sizeof self) || listen(fd, 64)) die("bind");
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int peer = accept(fd, NULL, NULL);
        if (peer < 0) continue;
        if (!fork()) {
            static char bytes[64 << 10];
            while (read(peer, bytes, sizeof bytes) > 0) {
            }
            exit(0);
        }
        close(peer);
    }
}

static _Noreturn void echo(int port) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (bind(fd, (struct sockaddr *)&self, sizeof self)) die("bind");
    for (;;) {
        char bytes[2048];
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        if (recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length) > 0)
            sendto(fd, bytes, ANSWER_BYTES, 0, (struct sockaddr *)&from, length);
    }
}

/* One connection of `posts`: what is still to come of a request. */
struct taking {
    char head[8192];
    size_t held;
    size_t body_left;
};

static volatile sig_atomic_t told_to_end;

static void end_soon(int signal) {
    (void)signal;
    told_to_end = 1;
}

/* Takes what has come; how many requests ended with it, or -1 when the peer is done. */
static int take(int fd, struct taking *taking) {
    static char bytes[65536];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return -1;
    int whole = 0;
    for (char *at = bytes, *end = bytes + got; at < end;) {
        if (taking->body_left) {
            size_t part = (size_t)(end - at) < taking->body_left ? (size_t)(end - at) : taking->body_left;
            at += part;
            taking->body_left -= part;
            whole += !taking->body_left;
            continue;
        }
        if (taking->held + 2 > sizeof taking->head) return -1;
        taking->head[taking->held++] = *at++;
        taking->head[taking->held] = 0;
        if (taking->held < 4 || memcmp(taking->head + taking->held - 4, "\r\n\r\n", 4)) continue;
        char *length = strcasestr(taking->head, "\r\ncontent-length:");
        taking->body_left = length ? strtoul(strchr(length, ':') + 1, NULL, 10) : 0;
        taking->held = 0;
        whole += !taking->body_left;
    }
    return whole;
}

static int posts(int port) {
    enum { CONNECTIONS_MAX = 64 };
    static struct taking taking[CONNECTIONS_MAX];
    static const char answer[] = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
    struct pollfd fds[CONNECTIONS_MAX] = {{.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN}};
    int one = 1, count = 1;
    setsockopt(fds[0].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (bind(fds[0].fd, (struct sockaddr *)&self, sizeof self) || listen(fds[0].fd, 64)) die("bind");
    struct sigaction end = {.sa_handler = end_soon};
    sigaction(SIGTERM, &end, NULL);
    unsigned long count_taken = 0;
    while (!told_to_end) {
        if (poll(fds, count, 1000) <= 0) continue;
        for (int i = count - 1; i > 0; i--) {
            if (!fds[i].revents) continue;
            int whole = take(fds[i].fd, &taking[i]);
            for (int n = 0; n < whole; n++, count_taken++)
                if (send(fds[i].fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) break;
            if (whole >= 0) continue;
            close(fds[i].fd);
            fds[i] = fds[--count];
            taking[i] = taking[count];
        }
        if (fds[0].revents && count < CONNECTIONS_MAX) {
            int fd = accept(fds[0].fd, NULL, NULL);
            if (fd < 0) continue;
            memset(&taking[count], 0, sizeof taking[count]);
            fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
    printf("%lu\n", count_taken);
    return 0;
}

static int run(int argc, char **argv) {
    /* Before it, this process was the shell that moved itself into the cgroup. */
    unsigned long at_main = cpu_usec();
    const char *name = argv[2], *ctl = argv[3];
    unsigned long memory = number(argc, argv, "memory_mib") * MIB;
    if (memory) {
        char *pages = mmap(NULL, memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) die("mmap");
        for (unsigned long at = 0; at < memory; at += 4096) pages[at] = 1;
    }
    unsigned long write_mib = number(argc, argv, "write_mib");
    unsigned long read_mib = number(argc, argv, "read_mib");
    unsigned long steps = number(argc, argv, "steps");
    unsigned long room = (write_mib > read_mib ? write_mib : read_mib);
    if (room > 64) room = 64;
    const char *path = option(argc, argv, "file");
    char *buffer = NULL;
    int file = -1;
    if (path) {
        if (posix_memalign((void **)&buffer, 4096, MIB)) die("posix_memalign");
        memset(buffer, 'n', MIB);
        memory += MIB;
        file = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
        if (file < 0) die(path);
        /* Laid out beforehand: what is measured are transfers and no file system at work. */
        transfer(file, buffer, room, room, 0);
        fsync(file);
    }
    /* Two connections that stand before the work begins. */
    const char *tcp = option(argc, argv, "tcp");
    int ending = tcp ? tcp_connect(tcp) : -1, staying = tcp ? tcp_connect(tcp) : -1;
    int go = open_gate(ctl, "go"), stop = open_gate(ctl, "stop");
    close(open_below(ctl, name, ".ready", O_WRONLY | O_CREAT));
    unsigned long before = cpu_usec();
    wait_for_end_of(go);

    unsigned long sent = 0, got = 0, written = 0, read_bytes = 0;
    burn(number(argc, argv, "cpu_msec") * 1000);
    for (unsigned long step = 0; path && step < (steps ? steps : 1); step++) {
        if (step) usleep(number(argc, argv, "step_msec") * 1000);
        written += transfer(file, buffer, write_mib, room, 0);
        read_bytes += transfer(file, buffer, read_mib, room, 1);
    }
    const char *udp = option(argc, argv, "udp");
    if (udp) talk(udp, number(argc, argv, "datagrams"), &sent, &got);

    unsigned long tcp_bytes = number(argc, argv, "tcp_mib") * MIB, tcp_sent = 0, tcp_short = 0;
    if (tcp) {
        tcp_sent += pour(ending, tcp_bytes / 2);
        finish(ending);
        tcp_sent += pour(staying, tcp_bytes - tcp_bytes / 2);
        unsigned long short_bytes = number(argc, argv, "tcp_short_mib") * MIB;
        if (short_bytes) {
            int brief = tcp_connect(tcp);
            tcp_short += pour(brief, short_bytes);
            finish(brief);
        }
    }

    const char *calls = option(argc, argv, "calls");
    unsigned long called = calls ? call(calls, number(argc, argv, "call_count"),
                                        number(argc, argv, "call_kib") << 10,
                                        number(argc, argv, "call_msec"))
                                 : 0;

    char temporary[512], final[512];
    snprintf(temporary, sizeof temporary, "%s/%s.tmp", ctl, name);
    snprintf(final, sizeof final, "%s/%s.done", ctl, name);
    FILE *done = fopen(temporary, "w");
    if (!done) die(temporary);
    fprintf(done,
            "{\"cpu_usec\":%lu,\"cpu_since_main_usec\":%lu,\"memory_bytes\":%lu,"
            "\"written_bytes\":%lu,\"read_bytes\":%lu,\"sent_bytes\":%lu,\"received_bytes\":%lu,"
            "\"tcp_sent_bytes\":%lu,\"tcp_short_bytes\":%lu,\"called_bytes\":%lu}\n",
            cpu_usec() - before, cpu_usec() - at_main, memory, written, read_bytes, sent, got,
            tcp_sent, tcp_short, called);
    fclose(done);
    rename(temporary, final);
    if (option(argc, argv, "exit")) return 0;
    wait_for_end_of(stop);
    /* What came behind the figure in NAME.done is little work, but an emulated CPU that its machine
     * takes away in the middle of it has run on by its own clock: 20 ms at once. */
    unsigned long used = cpu_usec() - before;
    char text[64];
    int length = snprintf(text, sizeof text, "{\"cpu_usec\":%lu}\n", used);
    int after = open_below(ctl, name, ".tmp", O_WRONLY | O_CREAT);
    if (write(after, text, length) != length) die("what came behind");
    snprintf(final, sizeof final, "%s/%s.after", ctl, name);
    rename(temporary, final);
    return 0;
}

static void write_file(const char *dir, const char *file, const char *text) {
    int fd = open_below(dir, "", file, O_WRONLY);
    if (write(fd, text, strlen(text)) < 0) die(file);
    close(fd);
}

struct pod {
    char path[256], container[512];
    pid_t process;
    unsigned long made_usec;
};

static void make_pod(struct pod *pod, const char *parent, unsigned long number) {
    char pid[32];
    const char *uid = "0e57ab1e-0000-4000-8000-";
    snprintf(pod->path, sizeof pod->path, "%s/pod%s%012lx", parent, uid, number);
    snprintf(pod->container, sizeof pod->container, "%s/pod%s%012lx/%064lx", parent, uid, number,
             number);
    if (mkdir(pod->path, 0755)) die(pod->path);
    write_file(pod->path, "/cgroup.subtree_control", "+cpu +memory +io +pids");
    if (mkdir(pod->container, 0755)) die(pod->container);
    pod->process = fork();
    if (pod->process < 0) die("fork");
    if (!pod->process) {
        snprintf(pid, sizeof pid, "%d", getpid());
        write_file(pod->container, "/cgroup.procs", pid);
        burn(5000);
        for (;;) pause();
    }
    pod->made_usec = clock_usec(CLOCK_MONOTONIC);
}

static void remove_pod(struct pod *pod) {
    kill(pod->process, SIGKILL);
    waitpid(pod->process, NULL, 0);
    /* The kernel may still be busy with the process's end. */
    while (rmdir(pod->container) && errno == EBUSY) usleep(1000);
    while (rmdir(pod->path) && errno == EBUSY) usleep(1000);
}

static int churn(char **argv) {
    enum { ALIVE_MAX = 512 };
    static struct pod alive[ALIVE_MAX];
    const char *parent = argv[2];
    unsigned long first = strtoul(argv[3], NULL, 10), a_second = strtoul(argv[4], NULL, 10);
    unsigned long most = strtoul(argv[5], NULL, 10) * a_second;
    unsigned long life = strtoul(argv[6], NULL, 10) * 1000;
    unsigned long begun = clock_usec(CLOCK_MONOTONIC), made = 0, gone = 0, took = 0;
    unsigned long most_alive = 0;
    while (gone < most) {
        unsigned long now = clock_usec(CLOCK_MONOTONIC);
        /* Removing comes first, so that a slow machine has no more of them alive at once. */
        if (gone < made && now - alive[gone % ALIVE_MAX].made_usec > life) {
            remove_pod(&alive[gone++ % ALIVE_MAX]);
        } else if (made < most && made - gone < ALIVE_MAX &&
                   made <= (now - begun) * a_second / 1000000) {
            make_pod(&alive[made % ALIVE_MAX], parent, first + made);
            if (made - gone > most_alive) most_alive = made - gone;
            if (++made == most) took = clock_usec(CLOCK_MONOTONIC) - begun;
        } else {
            usleep(1000);
        }
    }
    printf("%lu %lu %lu\n", made, took / 1000, most_alive + 1);
    return 0;
}

int main(int argc, char **argv) {
    if (argc >= 4 && !strcmp(argv[1], "run")) return run(argc, argv);
    if (argc == 3 && !strcmp(argv[1], "echo")) echo(atoi(argv[2]));
    if (argc == 3 && !strcmp(argv[1], "sink")) sink(atoi(argv[2]));
    if (argc == 3 && !strcmp(argv[1], "posts")) return posts(atoi(argv[2]));
    if (argc == 7 && !strcmp(argv[1], "churn")) return churn(argv);
    if (argc == 2 && !strcmp(argv[1], "pause")) return pause();
    fprintf(stderr, "load run NAME CTL [KEY=VALUE…] | load echo PORT | load sink PORT | load posts PORT | load pause | load churn …\n");
    return 2;
}
