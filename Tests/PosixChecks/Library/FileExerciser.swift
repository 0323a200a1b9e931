import CPosix
import Glibc

/// Random operations on one file through every way into it (read and write, shared mappings, O_DIRECT, truncation,
/// holes, reopening), each held against a copy in memory, in the manner of the well-known `fsx`.
public struct FileExerciser {
    /// The largest size that the file gets.
    public static let maximumSize = 512 << 10

    private let path: String
    private let seed: UInt64
    private var random: RandomNumbers
    private var expected: [UInt8] = []
    private var plain: Int32
    private var direct: Int32
    private let scratch: UnsafeMutableRawPointer
    private var step = 0

    /// Makes the file. The seed determines all that follows.
    public init(path: String, seed: UInt64) throws {
        self.path = path
        self.seed = seed
        random = RandomNumbers(seed: seed)
        plain = open(path, O_CREAT | O_TRUNC | O_RDWR, 0o644)
        guard plain >= 0 else { throw Broken(description: "open \(path): errno \(errno)") }
        direct = open(path, O_RDWR | posix_direct)
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, 4096, Self.maximumSize) == 0, let memory else {
            throw Broken(description: "no memory")
        }
        scratch = memory
    }

    /// Does that many operations; throws at the first difference with the seed and the step that repeat it.
    public mutating func run(operations: Int) throws {
        for _ in 0..<operations {
            step += 1
            switch random.below(100) {
            case 0..<24: try write(plain, unit: 1)
            case 24..<44: try read(plain, unit: 1)
            case 44..<52: try write(direct, unit: 4096)
            case 52..<58: try read(direct, unit: 4096)
            case 58..<66: try storeMapped()
            case 66..<74: try loadMapped()
            case 74..<82: try truncate()
            case 82..<86: try zero(posix_punch_hole, grows: false)
            case 86..<89: try zero(posix_zero_range, grows: true)
            case 89..<91: try zero(0, grows: true)
            case 91..<94: try copyRange()
            case 94..<97: if fsync(plain) != 0 { throw broken("fsync: errno \(errno)") }
            default: try reopen()
            }
            if lseek(plain, 0, SEEK_END) != expected.count {
                throw broken("size \(lseek(plain, 0, SEEK_END)), expected \(expected.count)")
            }
        }
        try reopen()
        try check(0, expected.count, plain)
    }

    /// Closes the file; it stays.
    public func finish() {
        close(plain)
        if direct >= 0 { close(direct) }
        free(scratch)
    }

    private func broken(_ what: String) -> Broken { Broken(description: "seed \(seed), step \(step): \(what)") }

    private mutating func range(unit: Int) -> (offset: Int, length: Int) {
        let offset = random.below(Self.maximumSize - unit) / unit * unit
        let most = min(Self.maximumSize - offset, random.below(4) == 0 ? 200_000 : 9000)
        return (offset, max(unit, random.below(most) / unit * unit))
    }

    private mutating func grow(to size: Int) {
        if size > expected.count { expected += [UInt8](repeating: 0, count: size - expected.count) }
    }

    private mutating func write(_ descriptor: Int32, unit: Int) throws {
        guard descriptor >= 0 else { return }
        let (offset, length) = range(unit: unit)
        let bytes = random.bytes(length)
        bytes.withUnsafeBytes {
            scratch.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(scratch), byteCount: length)
        }
        let written = pwrite(descriptor, scratch, length, offset)
        guard written == length else { throw broken("write of \(length) at \(offset) gave \(written), errno \(errno)") }
        grow(to: offset + length)
        expected.replaceSubrange(offset..<offset + length, with: bytes)
    }

    private mutating func read(_ descriptor: Int32, unit: Int) throws {
        guard descriptor >= 0 else { return }
        let (offset, length) = range(unit: unit)
        try check(offset, length, descriptor)
    }

    private func check(_ offset: Int, _ length: Int, _ descriptor: Int32) throws {
        let got = pread(descriptor, scratch, length, offset)
        let end = min(expected.count, offset + length)
        guard got == max(0, end - offset) else {
            throw broken("read of \(length) at \(offset) gave \(got), size \(expected.count), errno \(errno)")
        }
        try compare(scratch, offset, got, "read")
    }

    private func compare(_ memory: UnsafeRawPointer, _ offset: Int, _ length: Int, _ what: String) throws {
        guard length > 0 else { return }
        let same = expected.withUnsafeBytes {
            memcmp(memory, ($0.baseAddress ?? UnsafeRawPointer(scratch)) + offset, length) == 0
        }
        if same { return }
        let first = (0..<length).first { memory.load(fromByteOffset: $0, as: UInt8.self) != expected[offset + $0] } ?? 0
        throw broken("\(what) of \(length) at \(offset): byte \(offset + first) differs, size \(expected.count)")
    }

    private mutating func storeMapped() throws {
        guard expected.count > 0 else { return }
        let offset = random.below(expected.count)
        let length = min(expected.count - offset, 1 + random.below(30_000))
        let bytes = random.bytes(length)
        guard let memory = posix_map(offset + length, PROT_READ | PROT_WRITE, MAP_SHARED, plain) else {
            throw broken("mmap: errno \(errno)")
        }
        bytes.withUnsafeBytes {
            memory.advanced(by: offset).copyMemory(
                from: ($0.baseAddress ?? UnsafeRawPointer(scratch)), byteCount: length)
        }
        if random.below(3) == 0, msync(memory, offset + length, Int32(MS_SYNC)) != 0 {
            throw broken("msync: errno \(errno)")
        }
        munmap(memory, offset + length)
        expected.replaceSubrange(offset..<offset + length, with: bytes)
    }

    private mutating func loadMapped() throws {
        guard expected.count > 0 else { return }
        let offset = random.below(expected.count)
        let length = min(expected.count - offset, 1 + random.below(60_000))
        guard let memory = posix_map(offset + length, PROT_READ, MAP_SHARED, plain) else {
            throw broken("mmap: errno \(errno)")
        }
        defer { munmap(memory, offset + length) }
        try compare(memory.advanced(by: offset), offset, length, "mapping")
    }

    private mutating func truncate() throws {
        let size = random.below(Self.maximumSize)
        guard ftruncate(plain, size) == 0 else { throw broken("ftruncate to \(size): errno \(errno)") }
        if size < expected.count { expected.removeLast(expected.count - size) } else { grow(to: size) }
    }

    private mutating func zero(_ mode: Int32, grows: Bool) throws {
        let (offset, length) = range(unit: 1)
        if posix_allocate(plain, mode, offset, length) != 0 {
            if errno == EOPNOTSUPP { return }
            throw broken("fallocate \(mode) of \(length) at \(offset): errno \(errno)")
        }
        if grows { grow(to: offset + length) }
        let end = min(expected.count, offset + length)
        // Mode 0 allocates: what is there stays.
        if mode != 0, offset < end {
            expected.replaceSubrange(offset..<end, with: repeatElement(0, count: end - offset))
        }
    }

    private mutating func copyRange() throws {
        let length = 1 + random.below(30_000)
        guard expected.count > 2 * length else { return }
        var source = random.below(expected.count / 2 - length + 1)
        var target = expected.count / 2 + random.below(expected.count / 2 - length + 1)
        let (from, to) = (source, target)
        var done = 0
        while done < length {
            let copied = posix_copy_range(plain, &source, plain, &target, length - done)
            guard copied > 0 else { throw broken("copy_file_range gave \(copied), errno \(errno)") }
            done += copied
        }
        expected.replaceSubrange(to..<to + length, with: Array(expected[from..<from + length]))
    }

    private mutating func reopen() throws {
        close(plain)
        if direct >= 0 { close(direct) }
        plain = open(path, O_RDWR)
        direct = open(path, O_RDWR | posix_direct)
        guard plain >= 0 else { throw broken("open: errno \(errno)") }
    }
}
