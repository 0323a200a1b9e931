import Glibc
import Platform
import SchemeKit
import SchemeProtocol
import SchemeTransport
import Synchronization

/// Sixty-four registers. A write changes one in a way that depends on the order of writes, so that a lost, doubled or exchanged
/// write shows. What is committed lies in a file that outlives the process: a checkpoint, as a file system has it.
///
/// The checkpoint has two halves of 528 bytes, written in turn: sequence, 64 registers, checksum. The newer valid one counts.
final class RegisterScheme: NodeScheme {
    private struct State {
        var registers = [UInt64](repeating: 0, count: 64)
        var sequence: UInt64 = 0
        var half = 0
    }
    private let state = Locked(State())
    private let checkpoint: SharedDescriptor
    private let host: SchemeHost
    /// Ends the process after so many steps, at the point that the number chooses: before and after a change is applied, before and
    /// after a checkpoint is written.
    private let dieAt: Int
    private let calls = Atomic<Int>(0)
    let recoveredSequence: UInt64

    init(_ start: SchemeStart) throws {
        checkpoint = try start.requiredDescriptor("checkpoint")
        host = start.host
        dieAt = start.setting("die-at").flatMap { Int($0) } ?? 0
        var best = State()
        for half in 0..<2 {
            guard let found = try Self.load(checkpoint.rawValue, half), found.sequence >= best.sequence else {
                continue
            }
            best = found
            best.half = 1 - half
        }
        recoveredSequence = best.sequence
        let loaded = best
        state.withLock { $0 = loaded }
    }

    private static let halfBytes = 528

    private static func checksum(_ words: ArraySlice<UInt64>) -> UInt64 {
        words.reduce(0x9e37_79b9) { ($0 ^ $1) &* 0x100_0000_01b3 &+ 1 }
    }

    private static func load(_ descriptor: Int32, _ half: Int) throws(Errno) -> State? {
        var words = [UInt64](repeating: 0, count: 66)
        let count = unsafe words.withUnsafeMutableBytes {
            unsafe pread(descriptor, $0.baseAddress, halfBytes, off_t(half * halfBytes))
        }
        guard count == halfBytes, words[65] == checksum(words[0..<65]) else { return nil }
        return State(registers: Array(words[1..<65]), sequence: words[0], half: half)
    }

    private func step(_ point: Int) {
        guard dieAt > 0, calls.add(1, ordering: .relaxed).newValue >= dieAt, point == dieAt % 4 else { return }
        kill(getpid(), SIGKILL)
    }

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        guard offset < 64, bytes.byteCount >= 8 else { throw .invalidArgument }
        var value: UInt64 = 0
        for index in 0..<bytes.byteCount {
            value = value &* 257 &+ UInt64(unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self))
        }
        step(0)
        let result = state.withLock { state -> (UInt64, UInt64) in
            state.sequence = context.isReplay ? context.replaySequence : state.sequence + 1
            let old = state.registers[Int(offset)]
            state.registers[Int(offset)] = old &* 6_364_136_223_846_793_005 &+ value
            return (state.registers[Int(offset)], state.sequence)
        }
        step(1)
        context.sequence = result.1
        return Int(result.0 & 0x7fff_ffff)
    }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        guard offset < 64, buffer.byteCount >= 8 else { throw .invalidArgument }
        buffer.storeBytes(of: state.withLock { $0.registers[Int(offset)] }, as: UInt64.self)
        return 8
    }

    func commit(_ context: inout CallContext) throws(Errno) -> UInt64 {
        step(2)
        return try state.withLock { state throws(Errno) in
            var words = [state.sequence] + state.registers
            words.append(Self.checksum(words[...]))
            let at = off_t(state.half * Self.halfBytes)
            let count = unsafe words.withUnsafeBytes {
                unsafe pwrite(checkpoint.rawValue, $0.baseAddress, Self.halfBytes, at)
            }
            guard count == Self.halfBytes else { throw .ioError }
            state.half = 1 - state.half
            step(3)
            return state.sequence
        }
    }
}
