/*
 * Process 1 of the TDX, SEV-SNP and Nitro images: mounts what the enclave reads, then becomes it.
 *
 * There is no shell in the image and nothing that the host writes reaches the enclave: what the kernel hands down from its
 * command line as arguments and environment is dropped. A mount that fails ends this process, and with it the machine.
 * Freestanding, so that the image holds no C library but the interpreter's and two compilers' outputs are easy to compare.
 * ENTRY is the module to run; NITRO is defined for Nitro.
 */

typedef unsigned short u16;
typedef unsigned int u32;

enum { READ, WRITE, OPEN, CLOSE, DUP = 32, SOCKET = 41, CONNECT = 42, EXECVE = 59, EXIT = 60, MOUNT = 165 };
enum { O_RDWR = 2, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8 };

static long call(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static void end(void)
{
    for (;;)
        call(EXIT, 1, 0, 0, 0, 0);
}

static void mount(const char *type, const char *at, long flags)
{
    if (call(MOUNT, (long)type, (long)at, (long)type, flags, 0) != 0)
        end();
}

/* A socket that got the number of a standard stream would receive what is meant for people, tracebacks included. */
static void open_standard_streams(void)
{
    long descriptor = call(OPEN, (long)"/dev/null", O_RDWR, 0, 0, 0);
    while (descriptor >= 0 && descriptor < 3)
        descriptor = call(DUP, descriptor, 0, 0, 0, 0);
    if (descriptor < 0)
        end();
    call(CLOSE, descriptor, 0, 0, 0, 0);
}

#ifdef NITRO
/* The hypervisor ends an enclave that does not say on port 9000 of its parent that it has booted. */
static void say_booted(void)
{
    struct { u16 family, reserved; u32 port, cid, flags; } parent = { 40, 0, 9000, 3, 0 };
    unsigned char heartbeat = 0xb7;
    long link = call(SOCKET, 40, 1, 0, 0, 0);
    if (link < 0 || call(CONNECT, link, (long)&parent, sizeof parent, 0, 0) != 0)
        end();
    if (call(WRITE, link, (long)&heartbeat, 1, 0, 0) != 1 || call(READ, link, (long)&heartbeat, 1, 0, 0) != 1)
        end();
    call(CLOSE, link, 0, 0, 0, 0);
}
#endif

__attribute__((used)) static void start(void)
{
    static const char *const arguments[] = {
        "python3", "-I", "-S", "-B", "-X", "utf8", "-m", ENTRY, (const char *)0,
    };
    static const char *const environment[] = { (const char *)0 };
    mount("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC);
    mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    mount("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    open_standard_streams();
#ifdef NITRO
    say_booted();
#else
    mount("configfs", "/sys/kernel/config", MS_NOSUID | MS_NODEV | MS_NOEXEC);
#endif
    call(EXECVE, (long)"/usr/bin/python3", (long)arguments, (long)environment, 0, 0);
    end();
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall start\n");
