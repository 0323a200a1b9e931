import Platform
import SchemeKit
import SystemPackage

/// Named and anonymous pipes with the semantics of pipe(7) and fifo(7).
///
/// A named pipe is a file of the scheme's root directory: creating the file makes the pipe, writers and readers open it by its name.
/// Opening `""` as another scheme makes an anonymous one, whose writing end is its `dup` with "write", as on Redox.
final class PipeScheme: NodeScheme {
    /// An end that is open, or waits in open for the other side.
    struct End {
        let pipe: Int
        let reads: Bool
        let writes: Bool
    }

    struct Key: Hashable {
        let channel: UInt32
        let number: UInt64
    }

    struct Waiting {
        let end: End
        /// How many ends of the other side had been opened when the wait began.
        let opensBefore: Int
    }

    struct Ends {
        var open: [Key: End] = [:]
        var waiting: [Key: Waiting] = [:]
        /// Ends opened so far, by pipe: an open that waits ends when the other side came, even if it left again.
        var readerOpens = [Int](repeating: 0, count: PipeMemory.pipeCount)
        var writerOpens = [Int](repeating: 0, count: PipeMemory.pipeCount)

        func readers(_ pipe: Int) -> Int {
            open.values.count { $0.pipe == pipe && $0.reads }
                + waiting.values.count { $0.end.pipe == pipe && $0.end.reads }
        }

        func writers(_ pipe: Int) -> Int {
            open.values.count { $0.pipe == pipe && $0.writes }
                + waiting.values.count { $0.end.pipe == pipe && $0.end.writes }
        }
    }

    /// Writes of at most this many bytes are never mixed with others (PIPE_BUF).
    static let atomicBytes = 4096
    let memory: PipeMemory
    let host: SchemeHost
    /// The ends. Calls come one at a time; the lock is for the compiler's peace, and never contended.
    let ends = Locked(Ends())

    init(_ state: SchemeState, _ host: SchemeHost) {
        memory = PipeMemory(state.memory)
        self.host = host
    }

    // MARK: Numbers

    func node(_ pipe: Int) -> UInt64 { memory.generation(pipe) << 8 | UInt64(pipe) }

    func pipe(_ node: UInt64) throws(Errno) -> Int {
        let pipe = Int(node & 0xff)
        guard node > 1, memory.generation(pipe) == node >> 8, memory.words(pipe).kind != .free else {
            throw .staleNFSFileHandle
        }
        return pipe
    }

    private func find(_ name: [UInt8]) -> Int? {
        (0..<PipeMemory.pipeCount).first { memory.words($0).kind == .named && memory.name($0) == name }
    }

    private func bytes(_ name: RawSpan) -> [UInt8] {
        (0..<name.byteCount).map { unsafe name.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    }

    private func describe(_ pipe: Int) -> NodeAttributes {
        let words = memory.words(pipe)
        let found = memory.attributes(pipe)
        return NodeAttributes(
            node: node(pipe), mode: ModeBits.regular | found.mode, size: words.tail - words.head,
            links: words.kind == .named ? 1 : 0, uid: found.uid, gid: found.gid, accessTime: found.time,
            modificationTime: found.time, changeTime: found.time, birthTime: found.time)
    }

    // MARK: Names

    func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        guard parent == 1 else { throw .notDirectory }
        guard let pipe = find(bytes(name)) else { throw .noSuchFileOrDirectory }
        return describe(pipe)
    }

    func attributes(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        if node == 1 { return NodeAttributes(node: 1, mode: ModeBits.directory | 0o1777, links: 2) }
        return describe(try pipe(node))
    }

    func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        let pipe = try pipe(node)
        let old = memory.attributes(pipe)
        memory.setAttributes(
            pipe, mode: (changes.mode ?? old.mode) & 0o7777, uid: changes.uid ?? old.uid, gid: changes.gid ?? old.gid)
        if let time = changes.modificationTime { memory.setTime(pipe, time) }
        return describe(pipe)
    }

    func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing,
        _ context: inout CallContext
    ) throws(Errno) {
        guard node == 1 else { throw .notDirectory }
        guard position < UInt64(PipeMemory.pipeCount) else { return }
        for pipe in Int(position)..<PipeMemory.pipeCount where memory.words(pipe).kind == .named {
            let name = memory.name(pipe)
            let span = name.span
            guard
                listing.append(
                    unsafe span.bytes, node: self.node(pipe), kind: UInt8(ModeBits.regular >> 12),
                    nextPosition: UInt64(pipe + 1), attributes: withAttributes ? describe(pipe) : nil)
            else { return }
        }
    }

    private func make(_ name: [UInt8], mode: UInt32, _ kind: PipeWords.Kind, _ context: CallContext) throws(Errno)
        -> Int
    {
        guard let pipe = (0..<PipeMemory.pipeCount).first(where: { memory.words($0).kind == .free }) else {
            throw .noSpace
        }
        memory.prepare(pipe, name: name, mode: mode & 0o7777, uid: context.uid, gid: context.gid, time: context.time)
        let words = PipeWords(kind: kind, head: 0, tail: 0, partialRequest: 0, partialChannel: 0, partialCount: 0)
        memory.apply(words, pipe, context, result: Int64(pipe))
        return pipe
    }

    func makeNode(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, device: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        // A FIFO node would be the kernel's own pipe, not this scheme's.
        guard parent == 1, mode & ModeBits.typeMask == ModeBits.regular else { throw .notPermitted }
        if let again = memory.answer(context) { return describe(Int(again)) }
        let name = bytes(name)
        if find(name) != nil { throw .fileExists }
        return describe(try make(name, mode: mode, .named, context))
    }

    /// Makes a pipe and opens it; doesn't wait for the other side, as there can't be any yet.
    func create(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        guard parent == 1 else { throw .notDirectory }
        let name = bytes(name)
        let pipe: Int
        if let again = memory.answer(context) {
            pipe = Int(again)
        } else if let found = find(name) {
            if flags & OpenFlags.exclusive != 0 { throw .fileExists }
            pipe = found
        } else {
            pipe = try make(name, mode: mode, .named, context)
        }
        register(pipe, handle, flags, &context)
        return describe(pipe)
    }

    func unlink(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        guard parent == 1 else { throw .notDirectory }
        if memory.answer(context) != nil { return }
        guard let pipe = find(bytes(name)) else { throw .noSuchFileOrDirectory }
        var words = memory.words(pipe)
        words.kind = isHeld(pipe) ? .nameless : .free
        memory.apply(words, pipe, context, result: 0)
    }

    private func isHeld(_ pipe: Int) -> Bool { ends.withLock { $0.readers(pipe) + $0.writers(pipe) > 0 } }

    // MARK: Handles

    private func end(_ pipe: Int, _ flags: UInt32) -> End {
        let access = flags & OpenFlags.accessMask
        return End(pipe: pipe, reads: access != OpenFlags.writeOnly, writes: access != OpenFlags.readOnly)
    }

    private func register(_ pipe: Int, _ handle: UInt64, _ flags: UInt32, _ context: inout CallContext) {
        let end = end(pipe, flags)
        let key = Key(channel: context.channel, number: handle)
        ends.withLock { ends in
            ends.open[key] = end
            if end.reads { ends.readerOpens[pipe] += 1 }
            if end.writes { ends.writerOpens[pipe] += 1 }
        }
        context.opened = [.directIO, .stream]
        context.wake(node(pipe))
    }

    /// As fifo(7): an end waits for the other side, unless it reads and writes; with O_NONBLOCK a reader doesn't wait, and a writer
    /// without reader fails.
    func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let pipe = try pipe(node)
        let end = end(pipe, flags)
        let key = Key(channel: context.channel, number: context.requestID)
        let isNonBlocking = flags & OpenFlags.nonBlocking != 0
        let decision = ends.withLock { ends -> (mayOpen: Bool, isNew: Bool) in
            let opens = end.reads ? ends.writerOpens[pipe] : ends.readerOpens[pipe]
            let others = end.reads ? ends.writers(pipe) : ends.readers(pipe)
            if let waiting = ends.waiting[key] {
                guard others > 0 || opens != waiting.opensBefore else { return (false, false) }
                ends.waiting[key] = nil
                return (true, false)
            }
            if end.reads && end.writes || others > 0 || (end.reads && isNonBlocking) { return (true, false) }
            if isNonBlocking { return (false, false) }
            ends.waiting[key] = Waiting(end: end, opensBefore: opens)
            return (false, true)
        }
        guard decision.mayOpen else {
            if isNonBlocking { throw .noSuchAddressOrDevice }
            // Who waits for this side can go on.
            if decision.isNew { context.wake(node) }
            throw .wouldBlock
        }
        register(pipe, handle, flags, &context)
    }

    func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { register(try pipe(node), handle, flags, &context) }

    func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let name = bytes(path)
        let pipe: Int
        if let again = memory.answer(context) {
            pipe = Int(again)
        } else if name.isEmpty {
            pipe = try make([], mode: 0o600, .nameless, context)
        } else if let found = find(name) {
            pipe = found
        } else if flags & OpenFlags.create != 0, name.count <= 255, !name.contains(0x2f), !name.contains(0) {
            pipe = try make(name, mode: mode, .named, context)
        } else {
            throw .noSuchFileOrDirectory
        }
        register(pipe, handle, name.isEmpty ? OpenFlags.readOnly : flags, &context)
        return node(pipe)
    }

    func duplicate(
        _ node: UInt64, handle: UInt64, as newHandle: UInt64, kind: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let pipe = try pipe(node)
        switch bytes(kind) {
        case Array("write".utf8): register(pipe, newHandle, OpenFlags.writeOnly, &context)
        case Array("read".utf8): register(pipe, newHandle, OpenFlags.readOnly, &context)
        default: throw .invalidArgument
        }
        return node
    }

    func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let key = Key(channel: context.channel, number: handle)
        guard let end = ends.withLock({ $0.open.removeValue(forKey: key) }) else { return }
        context.wake(node)
        emptyIfUnused(end.pipe, context)
        freeIfUnused(end.pipe, context)
    }

    /// What is in a pipe that nobody has open is lost, as fifo(7) has it. Not after a death: then everybody opens it again.
    private func emptyIfUnused(_ pipe: Int, _ context: CallContext) {
        var words = memory.words(pipe)
        let isPristine = words.head == words.tail && words.partialChannel == 0
        guard words.kind == .named, !isPristine, !isHeld(pipe) else { return }
        words.head = words.tail
        words.endPartial()
        memory.apply(words, pipe, context, result: 0)
    }

    private func freeIfUnused(_ pipe: Int, _ context: CallContext) {
        var words = memory.words(pipe)
        guard words.kind == .nameless, !isHeld(pipe) else { return }
        words.kind = .free
        memory.apply(words, pipe, context, result: 0)
    }

    func replayFinished(_ context: inout CallContext) throws(Errno) {
        for pipe in 0..<PipeMemory.pipeCount { freeIfUnused(pipe, context) }
    }

    func channelEnded(_ channel: UInt32) {
        let gone = ends.withLock { ends -> [Int] in
            let pipes = ends.open.filter { $0.key.channel == channel }.map(\.value.pipe)
            ends.open = ends.open.filter { $0.key.channel != channel }
            ends.waiting = ends.waiting.filter { $0.key.channel != channel }
            return pipes
        }
        for pipe in gone { freeIfUnused(pipe, CallContext()) }
        for pipe in 0..<PipeMemory.pipeCount {
            var words = memory.words(pipe)
            guard words.partialChannel == UInt64(channel) + 1 else { continue }
            words.endPartial()
            memory.apply(words, pipe, CallContext(), result: nil)
            host.wake(node(pipe))
        }
    }
}
