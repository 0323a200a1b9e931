import CPosix
import Glibc

func succeed(_ result: Int32, _ what: String) throws {
    if result != 0 { throw CallFailed(what) }
}

func withFile(_ path: String, _ flags: Int32, _ body: (Int32) throws -> Void) throws {
    let descriptor = open(path, flags, 0o644)
    guard descriptor >= 0 else { throw CallFailed("open \(path)") }
    defer { close(descriptor) }
    try body(descriptor)
}

func writeAll(_ descriptor: Int32, _ bytes: [UInt8], at offset: Int) throws {
    guard pwrite(descriptor, bytes, bytes.count, offset) == bytes.count else { throw CallFailed("pwrite") }
}

func readAll(_ descriptor: Int32, _ buffer: inout [UInt8], at offset: Int) throws {
    guard pread(descriptor, &buffer, buffer.count, offset) == buffer.count else { throw CallFailed("pread") }
}

func withAlignedPage(_ body: (UnsafeMutableRawPointer) throws -> Void) throws {
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, 4096, 4096) == 0, let memory else { throw CallFailed("posix_memalign") }
    defer { free(memory) }
    try body(memory)
}

/// Makes the kernel forget what it has cached, of all file systems. Needs root; without it "not cached" is a wish.
func dropCaches(_ folder: String) throws {
    // Of this file system alone: others of the machine may have much to write.
    let directory = open(folder, O_RDONLY | O_DIRECTORY)
    if directory >= 0 {
        _ = posix_sync_file_system(directory)
        close(directory)
    }
    let descriptor = open("/proc/sys/vm/drop_caches", O_WRONLY)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    _ = write(descriptor, "3\n", 2)
}

/// Runs a command with its output thrown away; throws unless it ends with 0.
func command(_ words: String...) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    var id: pid_t = 0
    guard posix_spawnp(&id, words[0], &actions, nil, &pointers, environ) == 0 else { throw CallFailed(words[0]) }
    var status: Int32 = 0
    guard waitpid(id, &status, 0) == id, status == 0 else {
        throw CallFailed("\(words.joined(separator: " ")) ended with \(status)")
    }
}

/// Random numbers that a seed determines wholly (SplitMix64).
struct Generator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// Bytes that don't compress.
func noise(_ count: Int) -> [UInt8] {
    var generator = Generator(seed: 9)
    var result = [UInt8](repeating: 0, count: count)
    for index in 0..<count { result[index] = UInt8(truncatingIfNeeded: generator.next()) }
    return result
}

func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// A line on standard error.
func complain(_ text: String) {
    let line = Array("\(text)\n".utf8)
    _ = write(2, line, line.count)
}
