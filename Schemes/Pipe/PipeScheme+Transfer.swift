import SchemeKit
import SystemPackage

extension PipeScheme {
    private func end(_ handle: UInt64, _ context: CallContext) throws(Errno) -> End {
        let key = Key(channel: context.channel, number: handle)
        guard let end = ends.withLock({ $0.open[key] }) else { throw .badFileDescriptor }
        return end
    }

    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        // Done by the last incarnation: the bytes lie in the reply already.
        if let again = memory.answer(context) { return min(Int(again), buffer.byteCount) }
        let end = try end(handle, context)
        guard end.reads else { throw .badFileDescriptor }
        var words = memory.words(end.pipe)
        let available = Int(clamping: words.tail - words.head)
        guard buffer.byteCount > 0 else { return 0 }
        if available == 0 {
            if ends.withLock({ $0.writers(end.pipe) }) == 0 { return 0 }
            throw .wouldBlock
        }
        let count = min(available, buffer.byteCount)
        memory.get(end.pipe, at: words.head, count: count, into: &buffer)
        words.head += UInt64(count)
        memory.apply(words, end.pipe, context, result: Int64(count))
        context.wake(node)
        return count
    }

    /// Up to PIPE_BUF bytes go in one piece or wait for room. More go as there is room; while one such write waits with a part of
    /// its bytes in the pipe, no other begins.
    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        if let again = memory.answer(context) { return Int(again) }
        let end = try end(handle, context)
        guard end.writes else { throw .badFileDescriptor }
        let count = bytes.byteCount
        guard count > 0 else { return 0 }
        var words = memory.words(end.pipe)
        let isMine = words.partialRequest == context.requestID && words.partialChannel == UInt64(context.channel) + 1
        let done = isMine ? Int(clamping: words.partialCount) : 0
        if ends.withLock({ $0.readers(end.pipe) }) == 0 {
            guard done > 0 else { throw .brokenPipe }
            return finish(end.pipe, words, done, node, &context)
        }
        if !isMine {
            if isPartialAwaited(words) { throw .wouldBlock }
            words.endPartial()
        }
        let room = PipeMemory.capacity - Int(clamping: words.tail - words.head)
        let rest = count - min(done, count)
        guard room > 0, count > Self.atomicBytes || room >= count else { throw .wouldBlock }
        let part = min(room, rest)
        memory.put(end.pipe, at: words.tail, bytes.extracting(done..<(done + part)))
        words.tail += UInt64(part)
        memory.setTime(end.pipe, context.time)
        if part == rest || flags & OpenFlags.nonBlocking != 0 {
            return finish(end.pipe, words, done + part, node, &context)
        }
        words.partialRequest = context.requestID
        words.partialChannel = UInt64(context.channel) + 1
        words.partialCount = UInt64(done + part)
        memory.apply(words, end.pipe, context, result: nil)
        context.wake(node)
        throw .wouldBlock
    }

    /// Whether a write that has written a part of its bytes will write the rest. Not if its caller was told that it failed, when the
    /// server was away: nobody takes it back then.
    private func isPartialAwaited(_ words: PipeWords) -> Bool {
        guard words.partialChannel != 0, let channel = UInt32(exactly: words.partialChannel - 1) else { return false }
        return !host.isAttached(channel) || host.isOutstanding(words.partialRequest, channel: channel)
    }

    private func finish(
        _ pipe: Int, _ words: PipeWords, _ count: Int, _ node: UInt64, _ context: inout CallContext
    ) -> Int {
        var words = words
        let isPartial = words.partialRequest == context.requestID && words.partialChannel == UInt64(context.channel) + 1
        if isPartial { words.endPartial() }
        memory.apply(words, pipe, context, result: Int64(count))
        context.wake(node)
        return count
    }

    func poll(_ node: UInt64, handle: UInt64, events: UInt32, _ context: inout CallContext) throws(Errno) -> UInt32 {
        let end = try end(handle, context)
        let words = memory.words(end.pipe)
        let (readers, writers) = ends.withLock { ($0.readers(end.pipe), $0.writers(end.pipe)) }
        var ready: UInt32 = 0
        if end.reads {
            if words.tail != words.head { ready |= PollEvents.input }
            if writers == 0 { ready |= PollEvents.hangUp }
        }
        if end.writes {
            if readers == 0 {
                ready |= PollEvents.error
            } else if PipeMemory.capacity - Int(clamping: words.tail - words.head) >= Self.atomicBytes,
                !isPartialAwaited(words)
            {
                ready |= PollEvents.output
            }
        }
        // Errors and hang-ups are told whether asked for or not.
        return ready & (events | PollEvents.error | PollEvents.hangUp)
    }

    func cancelled(requestID: UInt64, channel: UInt32, node: UInt64) -> Int64? {
        let key = Key(channel: channel, number: requestID)
        _ = ends.withLock { $0.waiting.removeValue(forKey: key) }
        guard let pipe = try? pipe(node) else { return nil }
        var words = memory.words(pipe)
        guard words.partialRequest == requestID, words.partialChannel == UInt64(channel) + 1 else { return nil }
        let count = Int64(clamping: words.partialCount)
        words.endPartial()
        // With an identity of its own: the cancelled call is answered by who cancels it.
        memory.apply(words, pipe, CallContext(), result: nil)
        return count
    }
}
