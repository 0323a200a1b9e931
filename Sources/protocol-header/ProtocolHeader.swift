import SchemeProtocol

/// The wire protocol as a C header: opcodes, offsets, limits, all taken from the Swift that speaks it.
enum ProtocolHeader {
    /// The header's text.
    static var text: String {
        var lines = [
            "// The wire protocol of Saltbridge's schemes, version \(ProtocolLimits.version).",
            "// Made by `protocol-header` from the opcode table and the wire types: don't edit. What it all means stands in the",
            "// documentation of SchemeProtocol.",
            "#ifndef SALTBRIDGE_PROTOCOL_H", "#define SALTBRIDGE_PROTOCOL_H", "", "#include <stdint.h>", "",
        ]
        for (title, values) in sections {
            lines.append("// \(title).")
            let width = (values.map(\.0.count).max() ?? 0) + 1
            for (name, value) in values {
                lines.append("#define \(name)\(String(repeating: " ", count: width - name.count))\(value)")
            }
            lines.append("")
        }
        return lines.joined(separator: "\n") + "\n" + functionsInC + "\n#endif\n"
    }

    /// The same numbers as a Python module.
    static var python: String {
        var lines = [
            "# The wire protocol of Saltbridge's schemes, version \(ProtocolLimits.version).",
            "# Made by `protocol-header --python` from the opcode table and the wire types: don't edit.", "",
            "import struct as _struct", "",
        ]
        for (title, values) in sections {
            lines.append("# \(title).")
            for (name, value) in values {
                // UINT64_C(0x1) is C's way to write it.
                lines.append("\(name) = \(value.split(separator: "(").last?.prefix { $0 != ")" } ?? "")")
            }
            lines.append("")
        }
        return lines.joined(separator: "\n") + "\n" + classesInPython
    }

    private static var sections: [(title: String, values: [(String, String)])] {
        [
            ("What a request asks for (u16 at SB_REQUEST_OPCODE)", opcodes),
            ("Limits and sizes", limits),
            ("Headers of the two memories", headers),
            ("The submission entry and the arguments behind it, from the start of a request record", request),
            ("The completion entry, from the start of a reply record", completion),
            ("An event", event),
            ("Attributes of a node", attributes),
            ("An entry of a directory listing", directory),
            ("A control message", control),
        ]
    }

    /// "copyFileRange" as "COPY_FILE_RANGE".
    static func constant(_ name: String) -> String {
        var result = ""
        for character in name {
            if character.isUppercase { result += "_" }
            result += character.uppercased()
        }
        return result
    }

    private static func hex(_ value: some BinaryInteger) -> String { "0x\(String(value, radix: 16))" }

    private static var opcodes: [(String, String)] {
        Opcode.allCases.map { ("SB_OP_\(constant($0.name))", "\($0.rawValue)") }
    }

    private static var limits: [(String, String)] {
        [
            ("SB_VERSION", "\(ProtocolLimits.version)"),
            ("SB_PAGE_BYTES", "\(ProtocolLimits.pageBytes)"),
            ("SB_OPCODE_COUNT", "\(ProtocolLimits.opcodeCount)"),
            ("SB_MAXIMUM_TRANSFER_BYTES", "\(ProtocolLimits.maximumTransferBytes)"),
            ("SB_MAXIMUM_PAYLOAD_BYTES", "\(ProtocolLimits.maximumPayloadBytes)"),
            ("SB_MAXIMUM_PATH_BYTES", "\(ProtocolLimits.maximumPathBytes)"),
            ("SB_MAXIMUM_NAME_BYTES", "\(ProtocolLimits.maximumNameBytes)"),
            ("SB_MAXIMUM_ATTRIBUTE_VALUE_BYTES", "\(ProtocolLimits.maximumAttributeValueBytes)"),
            ("SB_MINIMUM_RECORD_COUNT", "\(ProtocolLimits.minimumRecordCount)"),
            ("SB_MAXIMUM_RECORD_COUNT", "\(ProtocolLimits.maximumRecordCount)"),
            ("SB_MAXIMUM_AREA_BYTES", "\(ProtocolLimits.maximumAreaBytes)"),
            ("SB_MAXIMUM_WORKERS", "\(ProtocolLimits.maximumWorkers)"),
            ("SB_REQUEST_RECORD_BYTES", "\(ProtocolLimits.requestRecordBytes)"),
            ("SB_INLINE_PAYLOAD_OFFSET", "\(ProtocolLimits.inlinePayloadOffset)"),
            ("SB_INLINE_PAYLOAD_BYTES", "\(ProtocolLimits.inlinePayloadBytes)"),
            ("SB_REPLY_RECORD_BYTES", "\(ProtocolLimits.replyRecordBytes)"),
            ("SB_INLINE_REPLY_OFFSET", "\(ProtocolLimits.inlineReplyOffset)"),
            ("SB_INLINE_REPLY_BYTES", "\(ProtocolLimits.inlineReplyBytes)"),
            ("SB_EVENT_BYTES", "\(EventEntry.byteCount)"),
            ("SB_STATISTICS_BYTES", "\(OperationStatistics.byteCount)"),
        ]
    }

    private static var headers: [(String, String)] {
        [
            ("SB_REQUEST_MAGIC", "UINT64_C(\(hex(ChannelLayout.requestMagic)))"),
            ("SB_REPLY_MAGIC", "UINT64_C(\(hex(ChannelLayout.replyMagic)))"),
            ("SB_HEADER_VERSION", "\(ChannelLayout.versionOffset)"),
            ("SB_HEADER_GEOMETRY", "\(ChannelLayout.geometryOffset)"),
            ("SB_GEOMETRY_BYTES", "\(ChannelGeometry.byteCount)"),
            ("SB_SUBMISSION_TAIL", "\(ChannelLayout.submissionTailOffset)"),
            ("SB_COMPLETION_HEAD", "\(ChannelLayout.completionHeadOffset)"),
            ("SB_EVENT_HEAD", "\(ChannelLayout.eventHeadOffset)"),
            ("SB_CLIENT_STATE", "\(ChannelLayout.clientStateOffset)"),
            ("SB_EPOCH", "\(ChannelLayout.epochOffset)"),
            ("SB_START_POSITION", "\(ChannelLayout.startPositionOffset)"),
            ("SB_MEMORY_GENERATION", "\(ChannelLayout.memoryGenerationOffset)"),
            ("SB_COMPLETION_TAIL", "\(ChannelLayout.completionTailOffset)"),
            ("SB_SUBMISSION_HEAD", "\(ChannelLayout.submissionHeadOffset)"),
            ("SB_EVENT_TAIL", "\(ChannelLayout.eventTailOffset)"),
            ("SB_SERVER_STATE", "\(ChannelLayout.serverStateOffset)"),
            ("SB_HEARTBEAT", "\(ChannelLayout.heartbeatOffset)"),
            ("SB_COMMITTED_SEQUENCE", "\(ChannelLayout.committedSequenceOffset)"),
            ("SB_APPLIED_SEQUENCE", "\(ChannelLayout.appliedSequenceOffset)"),
            ("SB_RECOVERED_SEQUENCE", "\(ChannelLayout.recoveredSequenceOffset)"),
            ("SB_INCARNATION", "\(ChannelLayout.incarnationOffset)"),
            ("SB_STATUS", "\(ChannelLayout.statusOffset)"),
            ("SB_MARKS", "\(ChannelLayout.marksOffset)"),
            ("SB_MARK_BYTES", "\(ChannelLayout.markBytes)"),
            ("SB_STATE_AWAKE", "\(SleepState.awake.rawValue)"),
            ("SB_STATE_ON_FUTEX", "\(SleepState.onFutex.rawValue)"),
            ("SB_STATE_ON_EVENT", "\(SleepState.onEvent.rawValue)"),
            ("SB_STATUS_STARTING", "\(ServerStatus.starting.rawValue)"),
            ("SB_STATUS_SERVING", "\(ServerStatus.serving.rawValue)"),
            ("SB_STATUS_FINISHED", "\(ServerStatus.finished.rawValue)"),
        ]
    }

    private static var request: [(String, String)] {
        [
            ("SB_REQUEST_OPCODE", "0"), ("SB_REQUEST_FLAGS", "2"), ("SB_REQUEST_GENERATION", "4"),
            ("SB_REQUEST_NODE", "8"), ("SB_REQUEST_HANDLE", "16"), ("SB_REQUEST_OFFSET", "24"),
            ("SB_REQUEST_LENGTH", "32"), ("SB_REQUEST_PAYLOAD_OFFSET", "36"), ("SB_REQUEST_PAYLOAD_LENGTH", "40"),
            ("SB_REQUEST_REPLY_OFFSET", "44"), ("SB_REQUEST_TIME", "48"), ("SB_REQUEST_UID", "56"),
            ("SB_REQUEST_GID", "60"), ("SB_REQUEST_PID", "64"), ("SB_REQUEST_CALL_FLAGS", "68"),
            ("SB_REQUEST_SEQUENCE", "72"), ("SB_REQUEST_WORDS", "80"),
            ("SB_REQUEST_COPIED_BYTES", "\(SubmissionEntry.byteCount + RequestArguments.byteCount)"),
            ("SB_FLAG_INLINE_PAYLOAD", "\(SubmissionFlags.inlinePayload.rawValue)"),
            ("SB_FLAG_REPLAY", "\(SubmissionFlags.replay.rawValue)"),
            ("SB_FLAG_RESUBMITTED", "\(SubmissionFlags.resubmitted.rawValue)"),
            ("SB_FLAG_KILL_PRIVILEGES", "\(SubmissionFlags.killPrivileges.rawValue)"),
            ("SB_FLAG_FROM_CACHE", "\(SubmissionFlags.fromCache.rawValue)"),
            ("SB_FLAG_AFTER_FLUSH", "\(SubmissionFlags.afterFlush.rawValue)"),
            ("SB_FLAG_TELLS_DIRECTORY", "\(SubmissionFlags.tellsDirectory.rawValue)"),
            ("SB_FLAG_SCATTERED", "\(SubmissionFlags.scattered.rawValue)"),
        ]
    }

    private static var completion: [(String, String)] {
        [
            ("SB_COMPLETION_TAG", "0"), ("SB_COMPLETION_GENERATION", "4"), ("SB_COMPLETION_RESULT", "8"),
            ("SB_COMPLETION_SEQUENCE", "16"), ("SB_COMPLETION_REPLY_LENGTH", "24"), ("SB_COMPLETION_FLAGS", "28"),
            ("SB_COMPLETION_VALUE0", "32"), ("SB_COMPLETION_VALUE1", "40"), ("SB_COMPLETION_NANOSECONDS", "48"),
            ("SB_COMPLETION_BYTES", "\(CompletionEntry.byteCount)"),
            ("SB_FLAG_INLINE_REPLY", "\(CompletionFlags.inlineReply.rawValue)"),
            ("SB_OPENED_DIRECT_IO", "\(OpenedFlags.directIO.rawValue)"),
            ("SB_OPENED_KEEP_CACHE", "\(OpenedFlags.keepCache.rawValue)"),
            ("SB_OPENED_STREAM", "\(OpenedFlags.stream.rawValue)"),
            ("SB_OPENED_CACHE_DIRECTORY", "\(OpenedFlags.cacheDirectory.rawValue)"),
            ("SB_OPENED_PARALLEL_DIRECT_WRITES", "\(OpenedFlags.parallelDirectWrites.rawValue)"),
            ("SB_OPENED_NO_FLUSH", "\(OpenedFlags.noFlush.rawValue)"),
            ("SB_OPENED_WRITES_AFTER_FLUSH", "\(OpenedFlags.writesAfterFlush.rawValue)"),
            ("SB_OPENED_SCATTERS_WRITES", "\(OpenedFlags.scattersWrites.rawValue)"),
        ]
    }

    private static var event: [(String, String)] {
        [
            ("SB_EVENT_KIND", "0"), ("SB_EVENT_FLAGS", "4"), ("SB_EVENT_NODE", "8"), ("SB_EVENT_HANDLE", "16"),
            ("SB_EVENT_VALUE", "24"), ("SB_EVENT_READY", "\(EventEntry.Kind.ready.rawValue)"),
            ("SB_EVENT_INVALIDATE_DATA", "\(EventEntry.Kind.invalidateData.rawValue)"),
            ("SB_EVENT_INVALIDATE_DIRECTORY", "\(EventEntry.Kind.invalidateDirectory.rawValue)"),
        ]
    }

    private static var attributes: [(String, String)] {
        [
            ("SB_ATTRIBUTES_NODE", "0"), ("SB_ATTRIBUTES_GENERATION", "8"), ("SB_ATTRIBUTES_SIZE", "16"),
            ("SB_ATTRIBUTES_BLOCKS", "24"), ("SB_ATTRIBUTES_TIMES", "32"), ("SB_ATTRIBUTES_NANOSECONDS", "64"),
            ("SB_ATTRIBUTES_MODE", "80"), ("SB_ATTRIBUTES_LINKS", "84"), ("SB_ATTRIBUTES_UID", "88"),
            ("SB_ATTRIBUTES_GID", "92"), ("SB_ATTRIBUTES_DEVICE", "96"), ("SB_ATTRIBUTES_BLOCK_SIZE", "100"),
            ("SB_ATTRIBUTES_VALID", "104"), ("SB_ATTRIBUTES_NAME_VALID", "108"),
            ("SB_ATTRIBUTES_BYTES", "\(NodeAttributes.byteCount)"),
            ("SB_CHANGES_BYTES", "\(AttributeChangeSet.byteCount)"),
            ("SB_FIGURES_BYTES", "\(FileSystemFigures.byteCount)"),
            ("SB_LOCK_BYTES", "\(FileLock.byteCount)"),
        ]
    }

    private static var directory: [(String, String)] {
        [
            ("SB_ENTRY_NODE", "0"), ("SB_ENTRY_NEXT", "8"), ("SB_ENTRY_BYTES", "16"), ("SB_ENTRY_NAME_BYTES", "20"),
            ("SB_ENTRY_KIND", "22"), ("SB_ENTRY_FLAGS", "23"),
            ("SB_ENTRY_HEADER_BYTES", "\(DirectoryRecord.headerBytes)"), ("SB_ENTRY_HAS_ATTRIBUTES", "1"),
        ]
    }

    private static let controlKinds: [(String, ControlKind)] = [
        ("CONFIGURE", .configure), ("STARTED", .started), ("FAILED", .failed), ("DONE", .done), ("ATTACH", .attach),
        ("REPLACE_REQUEST_MEMORY", .replaceRequestMemory), ("DETACH", .detach), ("CONNECT", .connect),
        ("SERVER_CHANGED", .serverChanged), ("FINISH", .finish), ("SET", .set), ("GET", .get), ("HOLD", .hold),
        ("LOG", .log), ("RESUMED", .resumed), ("ADOPT", .adopt), ("UNMOUNTED", .unmounted), ("SUSPECT", .suspect),
        ("HELD", .held), ("ACCEPT", .accept), ("DIAL", .dial),
    ]

    private static var control: [(String, String)] {
        [
            ("SB_CONTROL_MAGIC", "UINT32_C(\(hex(ControlMessage.magic)))"), ("SB_CONTROL_KIND", "4"),
            ("SB_CONTROL_VERSION", "6"), ("SB_CONTROL_ID", "8"), ("SB_CONTROL_CHANNEL", "12"),
            ("SB_CONTROL_NUMBER", "16"), ("SB_CONTROL_FLAGS", "24"), ("SB_CONTROL_DESCRIPTOR_COUNT", "28"),
            ("SB_CONTROL_FIELD_COUNT", "30"), ("SB_CONTROL_GEOMETRY", "32"), ("SB_CONTROL_HAS_GEOMETRY", "1"),
            ("SB_CONTROL_HEADER_BYTES", "\(ControlMessage.headerBytes)"),
            ("SB_CONTROL_MAXIMUM_BYTES", "\(ProtocolLimits.maximumControlBytes)"),
            ("SB_CONTROL_MAXIMUM_DESCRIPTORS", "\(ProtocolLimits.maximumControlDescriptors)"),
        ] + controlKinds.map { ("SB_KIND_\($0.0)", "\($0.1.rawValue)") }
    }
}
