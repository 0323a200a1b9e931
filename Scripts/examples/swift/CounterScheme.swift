import SchemeKit

/// `count` and `ticks`.
final class CounterScheme: Scheme {
    private static let countNode: UInt64 = 2
    fileprivate static let ticksNode: UInt64 = 3
    private let state: CounterState

    init(_ state: CounterState) { self.state = state }

    func entries(_ path: String) throws(Errno) -> [String] { ["count", "ticks"] }

    func attributes(_ path: String) throws(Errno) -> NodeAttributes {
        switch path {
        case "": NodeAttributes(node: 1, mode: ModeBits.directory | 0o555, links: 2)
        case "count": NodeAttributes(node: Self.countNode, mode: ModeBits.regular | 0o644)
        case "ticks": NodeAttributes(node: Self.ticksNode, mode: ModeBits.regular | 0o444)
        default: throw .noSuchFileOrDirectory
        }
    }

    /// Opening with O_TRUNC is no error; other changes change nothing.
    func setAttributes(_ path: String, _ changes: AttributeChangeSet, _ context: inout CallContext) throws(Errno) {}

    func open(_ path: String, flags: UInt32, mode: UInt32, _ context: inout CallContext) throws(Errno) -> any OpenFile {
        switch path {
        case "count": CountFile(state: state)
        case "ticks": TicksFile(state: state)
        default: throw .noSuchFileOrDirectory
        }
    }
}

/// The number of ticks; each write is one.
final class CountFile: OpenFile {
    let opened: OpenedFlags = .directIO
    private let state: CounterState

    init(state: CounterState) { self.state = state }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        buffer.fill(from: Array("\(state.count)\n".utf8), at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        state.tick(context)
        context.wake(CounterScheme.ticksNode)
        return bytes.byteCount
    }
}

/// A line of 16 bytes for each tick; who has read all waits for the next.
final class TicksFile: OpenFile {
    private static let lineBytes = 16
    let opened: OpenedFlags = .directIO
    private let state: CounterState

    init(state: CounterState) { self.state = state }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        let (first, skip) = offset.quotientAndRemainder(dividingBy: UInt64(Self.lineBytes))
        let count = state.count
        guard buffer.byteCount > 0 else { return 0 }
        guard first < count else { throw .wouldBlock }
        let lines = min(count - first, UInt64(buffer.byteCount / Self.lineBytes + 2))
        var text: [UInt8] = []
        for tick in first..<(first + lines) {
            let number = Array("\(tick + 1)\n".utf8)
            text += [UInt8](repeating: 0x20, count: max(0, Self.lineBytes - number.count)) + number
        }
        return buffer.fill(from: text, at: skip)
    }
}
