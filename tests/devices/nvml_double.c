/* A stand-in for NVIDIA's driver library: the entry points that pynvml calls for fabench, told what to answer by a text file.

   The tests compile it as libnvidia-ml.so.1 and let the loader find it, so that pynvml itself runs as it does on a real driver. A
   function that some driver lacks is left out by -DWITHOUT_<its name>. The script is the file that NVML_DOUBLE names; each call
   appends its function's name to the file that NVML_DOUBLE_LOG names, if any.

   A script is lines of "key answer answer ...". Each call of a query takes the next answer of its key, and the last one stays:

       init 0                    driver 550.54.15        cuda 12040          (of the library)
       gpu GPU-...               starts a board; their order is NVML's
       mig MIG-...               starts an instance of the board above
       sm_clock 1980 1755        sm_clock, memory_clock, power, temperature, reasons, energy, used, ...: whole numbers
       power 300000 error:15     an NVML error code instead
       compute self:1000,77:na - processes as pid:bytes, one list per answer; "self" is the caller, "na" is not available, "-" nobody

   A key without a line is NOT_SUPPORTED. Structures and constants are those of NVML 12 and 13 as nvidia-ml-py declares them. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned int u32;
typedef unsigned long long u64;

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, MISMATCH = 25 };
enum { ANSWERS = 64, KEYS = 48, BOARDS = 16, TEXT = 256 };

typedef struct { char name[32]; char answers[ANSWERS][TEXT]; int count, next; } key_t_;
typedef struct board { char uuid[96]; struct board *card; key_t_ keys[KEYS]; int count; } board_t;

static board_t library, boards[BOARDS];
static int board_count, started;

static void called(const char *name) {
    const char *path = getenv("NVML_DOUBLE_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", name);
        fclose(file);
    }
}

static void read_script(void) {
    const char *path = getenv("NVML_DOUBLE");
    FILE *file = path ? fopen(path, "r") : NULL;
    static char line[1 << 14];
    board_t *here = &library, *card = NULL;
    memset(&library, 0, sizeof library);
    memset(boards, 0, sizeof boards);
    board_count = 0;
    while (file && fgets(line, sizeof line, file)) {
        char *word = strtok(line, " \t\n");
        if (!word || *word == '#') continue;
        if (!strcmp(word, "gpu") || !strcmp(word, "mig")) {
            int whole = *word == 'g';
            if (board_count == BOARDS) abort();
            here = &boards[board_count++];
            if (whole) card = here;
            here->card = whole ? NULL : card;
            snprintf(here->uuid, sizeof here->uuid, "%s", strtok(NULL, " \t\n"));
            continue;
        }
        if (here->count == KEYS) abort();
        key_t_ *key = &here->keys[here->count++];
        snprintf(key->name, sizeof key->name, "%s", word);
        while ((word = strtok(NULL, " \t\n"))) {
            if (key->count == ANSWERS) abort();
            snprintf(key->answers[key->count++], TEXT, "%s", word);
        }
    }
    if (file) fclose(file);
}

/* The key's next answer (or the one that was given last, without `advance`), NULL with an error code in *code. */
static const char *answer(board_t *board, const char *name, int advance, int *code) {
    *code = NOT_SUPPORTED;
    if (!started) {
        *code = UNINITIALIZED;
        return NULL;
    }
    if (!board) {
        *code = INVALID_ARGUMENT;
        return NULL;
    }
    for (int i = 0; i < board->count; i++) {
        key_t_ *key = &board->keys[i];
        if (strcmp(key->name, name) || !key->count) continue;
        if (advance) key->next++;
        int at = key->next < 1 ? 0 : key->next > key->count ? key->count - 1 : key->next - 1;
        const char *text = key->answers[at];
        if (!strncmp(text, "error:", 6)) {
            *code = atoi(text + 6);
            return NULL;
        }
        *code = SUCCESS;
        return text;
    }
    return NULL;
}

static int number(board_t *board, const char *name, u64 *value) {
    int code;
    const char *text = answer(board, name, 1, &code);
    if (text) *value = strtoull(text, NULL, 10);
    return code;
}

static int small(board_t *board, const char *name, u32 *value) {
    u64 wide = 0;
    int code = number(board, name, &wide);
    if (code == SUCCESS) *value = (u32)wide;
    return code;
}

static int text(board_t *board, const char *name, char *target, u32 length) {
    int code;
    const char *found = answer(board, name, 1, &code);
    if (!found) return code;
    if (strlen(found) >= length) return INSUFFICIENT_SIZE;
    strcpy(target, found);
    return SUCCESS;
}

/* The driver refuses these on an instance: they are the card's. */
static int of_card(board_t *board) { return board && board->card ? INVALID_ARGUMENT : SUCCESS; }

#define CARD_ONLY(board) do { if (of_card(board) != SUCCESS) return INVALID_ARGUMENT; } while (0)

#ifndef WITHOUT_nvmlInitWithFlags
int nvmlInitWithFlags(u32 flags) {
    (void)flags;
    called("nvmlInitWithFlags");
    read_script();
    u64 code = SUCCESS;
    started = 1;
    number(&library, "init", &code);
    started = code == SUCCESS;
    return (int)code;
}
#endif

int nvmlInit_v2(void) { return NOT_SUPPORTED; } /* old programs' entry; pynvml calls the other one */

int nvmlShutdown(void) {
    called("nvmlShutdown");
    started = 0;
    return SUCCESS;
}

const char *nvmlErrorString(int code) { return code == 4711 ? "An error of a newer driver" : "Some error"; }

int nvmlSystemGetDriverVersion(char *version, u32 length) { return text(&library, "driver", version, length); }

#ifndef WITHOUT_nvmlSystemGetCudaDriverVersion_v2
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return small(&library, "cuda", (u32 *)version); }
#endif

int nvmlSystemGetCudaDriverVersion(int *version) { return small(&library, "cuda", (u32 *)version); }

int nvmlDeviceGetCount_v2(u32 *count) {
    *count = 0;
    for (int i = 0; i < board_count; i++) *count += !boards[i].card;
    return started ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(u32 index, board_t **device) {
    called("nvmlDeviceGetHandleByIndex_v2");
    for (int i = 0; i < board_count; i++)
        if (!boards[i].card && index-- == 0) {
            *device = &boards[i];
            return SUCCESS;
        }
    return INVALID_ARGUMENT;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, board_t **device) {
    called("nvmlDeviceGetHandleByUUID");
    u64 code = SUCCESS;
    if (!started) return UNINITIALIZED;
    for (int i = 0; i < board_count; i++)
        if (!strcmp(boards[i].uuid, uuid)) {
            number(&boards[i], "open", &code);
            *device = &boards[i];
            return (int)code;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(board_t *device, char *uuid, u32 length) {
    snprintf(uuid, length, "%s", device->uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(board_t *device, char *name, u32 length) { return text(device, "name", name, length); }

int nvmlDeviceGetVbiosVersion(board_t *device, char *version, u32 length) {
    CARD_ONLY(device);
    return text(device, "vbios", version, length);
}

typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } pci_t;

int nvmlDeviceGetPciInfo_v3(board_t *device, pci_t *pci) {
    CARD_ONLY(device);
    memset(pci, 0, sizeof *pci);
    return text(device, "bus_id", pci->bus_id, sizeof pci->bus_id);
}

int nvmlDeviceGetClockInfo(board_t *device, u32 kind, u32 *clock) {
    called("nvmlDeviceGetClockInfo");
    CARD_ONLY(device);
    return small(device, kind == 1 ? "sm_clock" : kind == 2 ? "memory_clock" : "?", clock);
}

int nvmlDeviceGetMaxClockInfo(board_t *device, u32 kind, u32 *clock) {
    CARD_ONLY(device);
    return small(device, kind == 1 ? "max_sm_clock" : kind == 2 ? "max_memory_clock" : "?", clock);
}

int nvmlDeviceGetPowerUsage(board_t *device, u32 *milliwatts) {
    called("nvmlDeviceGetPowerUsage");
    CARD_ONLY(device);
    return small(device, "power", milliwatts);
}

int nvmlDeviceGetEnforcedPowerLimit(board_t *device, u32 *milliwatts) {
    CARD_ONLY(device);
    return small(device, "power_limit", milliwatts);
}

int nvmlDeviceGetPowerManagementDefaultLimit(board_t *device, u32 *milliwatts) {
    CARD_ONLY(device);
    return small(device, "power_default", milliwatts);
}

int nvmlDeviceGetTemperature(board_t *device, u32 sensor, u32 *celsius) {
    CARD_ONLY(device);
    return small(device, sensor == 0 ? "temperature" : "?", celsius);
}

#ifndef WITHOUT_nvmlDeviceGetCurrentClocksEventReasons
int nvmlDeviceGetCurrentClocksEventReasons(board_t *device, u64 *bits) {
    called("nvmlDeviceGetCurrentClocksEventReasons");
    CARD_ONLY(device);
    return number(device, "reasons", bits);
}
#endif

#ifndef WITHOUT_nvmlDeviceGetCurrentClocksThrottleReasons
int nvmlDeviceGetCurrentClocksThrottleReasons(board_t *device, u64 *bits) {
    called("nvmlDeviceGetCurrentClocksThrottleReasons");
    CARD_ONLY(device);
    return number(device, "reasons", bits);
}
#endif

#ifndef WITHOUT_nvmlDeviceGetTotalEnergyConsumption
int nvmlDeviceGetTotalEnergyConsumption(board_t *device, u64 *millijoules) {
    CARD_ONLY(device);
    return number(device, "energy", millijoules);
}
#endif

int nvmlDeviceGetTotalEccErrors(board_t *device, u32 kind, u32 counter, u64 *count) {
    CARD_ONLY(device);
    return number(device, kind == 1 && counter == 0 ? "ecc_errors" : "?", count);
}

static int pair(board_t *device, const char *name, u32 *current, u32 *pending) {
    int code = small(device, name, current);
    *pending = *current;
    return code;
}

int nvmlDeviceGetEccMode(board_t *device, u32 *current, u32 *pending) {
    CARD_ONLY(device);
    return pair(device, "ecc", current, pending);
}

int nvmlDeviceGetPersistenceMode(board_t *device, u32 *mode) {
    CARD_ONLY(device);
    return small(device, "persistence", mode);
}

#ifndef WITHOUT_nvmlDeviceGetMigMode
int nvmlDeviceGetMigMode(board_t *device, u32 *current, u32 *pending) {
    CARD_ONLY(device);
    return pair(device, "mig_mode", current, pending);
}
#endif

int nvmlDeviceGetMaxMigDeviceCount(board_t *device, u32 *count) {
    (void)device;
    *count = 7; /* slots, whether used or not */
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(board_t *device, u32 index, board_t **instance) {
    for (int i = 0; i < board_count; i++)
        if (boards[i].card == device && index-- == 0) {
            *instance = &boards[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(board_t *instance, board_t **device) {
    *device = instance->card;
    return *device ? SUCCESS : INVALID_ARGUMENT;
}

typedef struct { u64 total, available, used; } memory_t;
typedef struct { u32 version; u64 total, reserved, available, used; } memory_v2_t;

/* The older call counts the driver's reserve as used, the newer one does not. */
int nvmlDeviceGetMemoryInfo(board_t *device, memory_t *memory) {
    u64 reserved = 0;
    number(device, "total", &memory->total);
    number(device, "reserved", &reserved);
    int code = number(device, "used", &memory->used);
    memory->used += reserved;
    memory->available = memory->total - memory->used;
    return code;
}

#ifndef WITHOUT_nvmlDeviceGetMemoryInfo_v2
int nvmlDeviceGetMemoryInfo_v2(board_t *device, memory_v2_t *memory) {
    if (memory->version != (sizeof(memory_v2_t) | 2u << 24)) return MISMATCH;
    number(device, "total", &memory->total);
    int code = number(device, "reserved", &memory->reserved);
    if (number(device, "used", &memory->used) != SUCCESS) memory->used = 0;
    memory->available = memory->total - memory->used - memory->reserved;
    return code;
}
#endif

typedef struct { u32 pid; u64 bytes; u32 gpu_instance, compute_instance; } process_t;

/* The first call asks how many (and moves to the next answer), the second one fills. */
static int processes(board_t *device, const char *name, u32 *count, process_t *into) {
    int code;
    const char *found = answer(device, name, into == NULL, &code);
    if (!found) return code;
    char list[TEXT];
    snprintf(list, sizeof list, "%s", found);
    u32 room = into ? *count : 0, seen = 0;
    for (char *save = NULL, *word = strtok_r(list, ",", &save); word && *word != '-'; word = strtok_r(NULL, ",", &save), seen++) {
        char *bytes = strchr(word, ':');
        if (seen >= room || !bytes) continue;
        into[seen].pid = !strncmp(word, "self", 4) ? (u32)getpid() : (u32)strtoul(word, NULL, 10);
        into[seen].bytes = !strcmp(bytes, ":na") ? ~0ULL : strtoull(bytes + 1, NULL, 10);
        into[seen].gpu_instance = into[seen].compute_instance = ~0u;
    }
    *count = seen;
    return seen > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#ifndef WITHOUT_nvmlDeviceGetComputeRunningProcesses_v3
int nvmlDeviceGetComputeRunningProcesses_v3(board_t *device, u32 *count, process_t *into) {
    called("nvmlDeviceGetComputeRunningProcesses_v3");
    return processes(device, "compute", count, into);
}
#endif

#ifndef WITHOUT_nvmlDeviceGetComputeRunningProcesses_v2
int nvmlDeviceGetComputeRunningProcesses_v2(board_t *device, u32 *count, process_t *into) {
    called("nvmlDeviceGetComputeRunningProcesses_v2");
    return processes(device, "compute", count, into);
}
#endif

#ifndef WITHOUT_nvmlDeviceGetGraphicsRunningProcesses_v3
int nvmlDeviceGetGraphicsRunningProcesses_v3(board_t *device, u32 *count, process_t *into) {
    CARD_ONLY(device);
    return processes(device, "graphics", count, into);
}
#endif

int nvmlDeviceGetGraphicsRunningProcesses_v2(board_t *device, u32 *count, process_t *into) {
    CARD_ONLY(device);
    return processes(device, "graphics", count, into);
}
