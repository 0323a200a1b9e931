import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

extension Dispatcher {
    /// Makes the call that a request asks for. What each opcode takes and gives stands in the opcode table.
    func perform(_ taken: Taken, _ scratch: AlignedBuffer, _ context: inout CallContext) throws(Errno) -> Outcome {
        switch taken.request.opcode {
        case .ping, .cancel, .commit, .hello, .adoptHandle, .replayFinished:
            try performControl(taken, &context)
        case .lookup, .symlink, .mknod, .mkdir, .unlink, .rmdir, .rename, .link, .create, .tmpfile:
            tellDirectory(taken, try performNaming(taken, scratch, &context), context)
        case .setxattr, .getxattr, .listxattr, .removexattr:
            try performExtendedAttribute(taken, scratch, &context)
        case .openat, .unlinkat, .frename, .flink, .dup, .fpath, .getdents, .fstat, .fsize, .ftruncate, .futimens,
            .fchmod,
            .fchown, .fstatvfs, .fevent, .fcntl, .mmap, .munmap, .sendfd:
            try performPath(taken, scratch, &context)
        default: try performNode(taken, &context)
        }
    }

    private func performControl(_ taken: Taken, _ context: inout CallContext) throws(Errno) -> Outcome {
        let request = taken.request
        switch request.opcode {
        case .hello:
            return Outcome(
                result: Int64(truncatingIfNeeded: scheme.rootNode & UInt64(Int64.max)), value0: scheme.recoveredSequence
            )
        case .commit:
            let sequence = try scheme.commit(&context)
            taken.server.reportCommitted(sequence)
            return Outcome(value0: sequence)
        case .adoptHandle:
            try adopt(
                Adoption(
                    node: request.entry.node, generation: request.arguments.word0, handle: request.entry.handle,
                    flags: request.arguments.flags, openedAfter: request.arguments.word1), &context)
            return Outcome()
        case .replayFinished:
            adoptTheRest(request)
            try scheme.replayFinished(&context)
            return Outcome()
        default: return Outcome()
        }
    }

    private func performNaming(
        _ taken: Taken, _ scratch: AlignedBuffer, _ context: inout CallContext
    ) throws(Errno) -> Outcome {
        let request = taken.request
        let parent = request.entry.node
        let words = request.arguments
        let umask = UInt32(truncatingIfNeeded: words.word0 >> 32)
        let wanted = UInt32(truncatingIfNeeded: words.word0)
        let mode = scheme.appliesMask ? wanted : wanted & ~(umask & 0o777)
        let hasTwo = request.opcode == .rename || request.opcode == .symlink
        let names = try CallNames(taken.server, request, scratch, firstBytes: hasTwo ? words.word1 : nil)
        switch request.opcode {
        case .lookup: return found(taken, try scheme.lookup(parent, try names.name, &context))
        case .symlink:
            guard !names.secondText.isEmpty, names.secondText.byteCount <= ProtocolLimits.maximumPathBytes else {
                throw names.secondText.isEmpty ? .noSuchFileOrDirectory : .fileNameTooLong
            }
            return found(
                taken, try scheme.symbolicLink(parent, try names.name, target: names.secondText, &context))
        case .mknod:
            return found(
                taken,
                try scheme.makeNode(
                    parent, try names.name, mode: mode, umask: umask, device: UInt32(truncatingIfNeeded: words.word1),
                    &context))
        case .mkdir:
            return found(
                taken, try scheme.makeDirectory(parent, try names.name, mode: mode, umask: umask, &context))
        case .unlink: try scheme.unlink(parent, try names.name, &context)
        case .rmdir: try scheme.removeDirectory(parent, try names.name, &context)
        case .rename:
            try scheme.rename(
                parent, try names.name, to: words.word0, try names.secondName, flags: words.flags, &context)
        case .link: return found(taken, try scheme.link(parent, words.word0, try names.name, &context))
        case .create:
            return found(
                taken,
                try scheme.create(
                    parent, try names.name, mode: mode, umask: umask, handle: request.entry.handle, flags: words.flags,
                    &context))
        case .tmpfile:
            return found(
                taken,
                try scheme.createUnnamed(
                    parent, mode: mode, umask: umask, handle: request.entry.handle, flags: words.flags, &context))
        default: throw .noFunction
        }
        return Outcome(value0: context.removedNode)
    }

    /// Adds what the change made of the directory, if the client wants to know and there is room.
    private func tellDirectory(_ taken: Taken, _ outcome: Outcome, _ context: CallContext) -> Outcome {
        let request = taken.request
        guard request.entry.flags.contains(.tellsDirectory), !request.isReplay else { return outcome }
        switch request.opcode {
        case .create, .mknod, .mkdir, .symlink, .link, .unlink, .rmdir: break
        default: return outcome
        }
        let directory = request.opcode == .link ? request.arguments.word0 : request.entry.node
        // The call's own context says what the change was; a scheme that can't tell the attributes now has them asked for.
        var question = context
        guard let attributes = try? scheme.attributes(directory, handle: 0, &question) else { return outcome }
        var room = taken.server.replyRoom(request)
        guard room.byteCount - outcome.replyBytes >= DirectoryState.byteCount else { return outcome }
        var rest = room._mutatingExtracting(droppingFirst: outcome.replyBytes)
        DirectoryState(attributes).encode(into: &rest)
        var outcome = outcome
        outcome.replyBytes += DirectoryState.byteCount
        return outcome
    }

    private func performNode(_ taken: Taken, _ context: inout CallContext) throws(Errno) -> Outcome {
        let request = taken.request
        let node = request.entry.node
        let handle = request.entry.handle
        let words = request.arguments
        switch request.opcode {
        case .forget: scheme.forget(node, count: words.word0)
        case .getattr: return found(taken, try scheme.attributes(node, handle: handle, &context))
        case .setattr:
            guard let changes = changes(taken) else { throw .invalidArgument }
            return found(taken, try scheme.setAttributes(node, handle: handle, changes, &context))
        case .open: try scheme.open(node, handle: handle, flags: words.flags, &context)
        case .opendir: try scheme.openDirectory(node, handle: handle, flags: words.flags, &context)
        case .releasedir: try scheme.closeDirectory(node, handle: handle, &context)
        case .flush: try scheme.flush(node, handle: handle, &context)
        case .close: try scheme.close(node, handle: handle, flags: words.flags, &context)
        case .fsync, .fsyncdir, .syncfs:
            try scheme.synchronize(node, handle: handle, dataOnly: words.flags & 1 != 0, &context)
        case .access: try scheme.access(node, mask: words.flags, &context)
        case .fallocate:
            try scheme.allocate(
                node, handle: handle, mode: words.flags, at: request.entry.offset, count: words.word0, &context)
        case .statfs: return reply(taken, try scheme.figures(node, &context))
        default: return try performTransfer(taken, &context)
        }
        return Outcome()
    }

    private func performTransfer(_ taken: Taken, _ context: inout CallContext) throws(Errno) -> Outcome {
        let request = taken.request
        let node = request.entry.node
        let handle = request.entry.handle
        let words = request.arguments
        switch request.opcode {
        case .read:
            var room = taken.server.replyRoom(request)
            var wanted = room._mutatingExtracting(first: min(request.length, room.byteCount))
            let count = try scheme.read(
                node, handle: handle, at: request.entry.offset, into: &wanted, flags: words.flags, &context)
            return Outcome(result: Int64(count), replyBytes: count)
        case .write:
            let count: Int
            if let slice = taken.server.payloadSlice(request) {
                count = try scheme.write(node, handle: handle, at: request.entry.offset, slice, &context)
            } else {
                count = try scheme.write(
                    node, handle: handle, at: request.entry.offset, taken.server.payload(request), flags: words.flags,
                    &context)
            }
            return Outcome(result: Int64(count))
        case .readdir:
            let room = taken.server.replyRoom(request)
            var listing = DirectoryListing(room)
            try scheme.readDirectory(
                node, handle: handle, from: request.entry.offset, withAttributes: words.flags & 1 != 0, into: &listing,
                &context)
            return Outcome(result: Int64(listing.count), replyBytes: listing.count)
        case .readlink:
            var room = taken.server.replyRoom(request)
            let count = try scheme.readLink(node, into: &room, &context)
            return Outcome(result: Int64(count), replyBytes: count)
        case .lseek:
            let offset = try scheme.seek(
                node, handle: handle, from: request.entry.offset, whence: words.flags, &context)
            return Outcome(result: Int64(clamping: offset))
        case .copyFileRange:
            let count = try scheme.copyRange(
                node, handle: handle, at: request.entry.offset, to: words.word0, targetHandle: words.word1,
                targetOffset: words.word2, count: words.word3, &context)
            return Outcome(result: Int64(clamping: count))
        case .poll:
            if words.word0 & 1 != 0 { watch(taken, events: words.flags) }
            return Outcome(result: Int64(try scheme.poll(node, handle: handle, events: words.flags, &context)))
        case .ioctl:
            var room = taken.server.replyRoom(request)
            let answer = try scheme.control(
                node, handle: handle, command: words.word0, argument: words.word1, taken.server.payload(request),
                into: &room, &context)
            return Outcome(result: answer.result, replyBytes: answer.count)
        case .call:
            var room = taken.server.replyRoom(request)
            let answer = try scheme.call(
                node, handle: handle, words, taken.server.payload(request), into: &room, &context)
            return Outcome(result: answer.result, replyBytes: answer.count)
        default: return try performLock(taken, &context)
        }
    }

    private func performLock(_ taken: Taken, _ context: inout CallContext) throws(Errno) -> Outcome {
        let request = taken.request
        let words = request.arguments
        guard words.word3 <= 2 else { throw .invalidArgument }
        let lock = FileLock(
            owner: words.word0, start: words.word1, end: words.word2, type: UInt32(words.word3), pid: words.pid)
        switch request.opcode {
        case .getlk:
            let found = try scheme.testLock(request.entry.node, handle: request.entry.handle, lock, &context)
            var room = taken.server.replyRoom(request)
            found.encode(into: &room)
            return Outcome(replyBytes: FileLock.byteCount)
        case .setlk: try scheme.setLock(request.entry.node, handle: request.entry.handle, lock, &context)
        case .flock: try scheme.setFileLock(request.entry.node, handle: request.entry.handle, lock, &context)
        default: throw .noFunction
        }
        return Outcome()
    }

    private func performExtendedAttribute(
        _ taken: Taken, _ scratch: AlignedBuffer, _ context: inout CallContext
    ) throws(Errno) -> Outcome {
        let request = taken.request
        let node = request.entry.node
        var room = taken.server.replyRoom(request)
        var wanted = room._mutatingExtracting(first: min(request.length, room.byteCount))
        let count: Int
        switch request.opcode {
        case .setxattr:
            // The value stays where it is; only the name is copied.
            let payload = taken.server.payload(request)
            guard let nameBytes = Untrusted(request.arguments.word1).length(atMost: payload.byteCount) else {
                throw .invalidArgument
            }
            guard nameBytes <= ProtocolLimits.maximumNameBytes else { throw .outOfRange }
            scratch.copyBytes(from: payload.extracting(first: nameBytes), at: 0)
            try scheme.setExtendedAttribute(
                node, scratch.bytes(0..<nameBytes), payload.extracting(droppingFirst: nameBytes),
                flags: request.arguments.flags, &context)
            return Outcome()
        case .getxattr:
            let names = try CallNames(taken.server, request, scratch)
            count = try scheme.extendedAttribute(node, names.text, into: &wanted, &context)
        case .listxattr: count = try scheme.listExtendedAttributes(node, into: &wanted, &context)
        default:
            let names = try CallNames(taken.server, request, scratch)
            try scheme.removeExtendedAttribute(node, names.text, &context)
            return Outcome()
        }
        return Outcome(result: Int64(count), replyBytes: request.length == 0 ? 0 : min(count, request.length))
    }

    // MARK: Replies in the reply record

    func found(_ taken: Taken, _ attributes: NodeAttributes) -> Outcome {
        var room = taken.server.replyRoom(taken.request)
        attributes.encode(into: &room)
        return Outcome(replyBytes: NodeAttributes.byteCount, value1: attributes.node)
    }

    func reply(_ taken: Taken, _ figures: FileSystemFigures) -> Outcome {
        var room = taken.server.replyRoom(taken.request)
        figures.encode(into: &room)
        return Outcome(replyBytes: FileSystemFigures.byteCount)
    }

    /// The attribute changes in the payload, copied before they are read.
    func changes(_ taken: Taken) -> AttributeChangeSet? {
        var copy = InlineArray<8, UInt64>(repeating: 0)
        let payload = taken.server.payload(taken.request)
        guard payload.byteCount >= AttributeChangeSet.byteCount else { return nil }
        for index in 0..<8 {
            copy[index] = unsafe payload.unsafeLoadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
        }
        let span = copy.span
        return AttributeChangeSet(decoding: unsafe span.bytes)
    }
}
