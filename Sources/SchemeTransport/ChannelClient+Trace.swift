import SchemeProtocol

extension ChannelClient {
    /// Puts a completed request into a trace: before the record is released.
    public func trace(_ completion: Completion, channel: UInt32, into ring: TraceRing) {
        guard let record = record(tag: completion.tag) else { return }
        let (entry, arguments) = (record.entry, record.arguments)
        var event = TraceEvent()
        event.submittedAt = record.submittedAt
        event.nanoseconds = completion.nanoseconds
        event.serverNanoseconds = completion.serverNanoseconds
        event.node = entry.node
        event.handle = entry.handle
        event.offset = entry.offset
        event.result = completion.result
        event.opcode = entry.opcode
        event.channel = channel
        event.uid = entry.uid
        event.pid = arguments.pid
        if completion.isReplay { event.flags.insert(.replay) }
        if completion.isLocal { event.flags.insert(.local) }
        event.length = Self.length(completion.opcode, entry, arguments)
        if completion.result >= 0, completion.opcode.findsNode {
            event.found = NodeAttributes(decoding: reply(completion))?.node ?? 0
        }
        if completion.opcode == .rename { event.found = arguments.word0 }
        let names = Self.names(completion.opcode, entry, arguments)
        event.nameByteCount = UInt32(clamping: names.first)
        let payload = payload(of: record)
        ring.append(event, text: payload.extracting(first: min(names.all, payload.byteCount)))
    }

    /// How many bytes are asked for or given.
    private static func length(_ opcode: Opcode, _ entry: SubmissionEntry, _ arguments: RequestArguments) -> UInt64 {
        switch opcode {
        case .write, .call: UInt64(entry.payloadLength)
        case .fallocate: arguments.word0
        case .copyFileRange: arguments.word3
        default: UInt64(entry.length)
        }
    }

    /// How many bytes of the payload are names: the first one, and all.
    private static func names(
        _ opcode: Opcode, _ entry: SubmissionEntry, _ arguments: RequestArguments
    ) -> (first: Int, all: Int) {
        let all = Int(entry.payloadLength)
        let first = min(Int(clamping: arguments.word1), all)
        return switch opcode {
        case .lookup, .create, .mkdir, .mknod, .unlink, .rmdir, .link, .getxattr, .removexattr, .openat, .unlinkat,
            .frename, .flink:
            (all, all)
        case .rename, .symlink: (first, all)
        case .setxattr: (first, first)
        default: (0, 0)
        }
    }
}

extension Opcode {
    /// Whether its reply begins with the attributes of a node that a name leads to.
    fileprivate var findsNode: Bool {
        switch self {
        case .lookup, .create, .mkdir, .mknod, .symlink, .link, .tmpfile: true
        default: false
        }
    }
}
