import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// The calls that other schemes make: on paths, and on handles without a node number. A handle's node is remembered from its
/// opening answer (`value1`), and comes in the entry like the kernel's calls have it.
extension Dispatcher {
    func performPath(
        _ taken: Taken, _ scratch: AlignedBuffer, _ context: inout CallContext
    ) throws(Errno) -> Outcome {
        let request = taken.request
        let node = request.entry.node
        let handle = request.entry.handle
        let words = request.arguments
        switch request.opcode {
        case .openat:
            let names = try CallNames(taken.server, request, scratch)
            let opened = try scheme.open(
                path: names.text, handle: handle, flags: words.flags, mode: UInt32(truncatingIfNeeded: words.word0),
                &context)
            return Outcome(value1: opened)
        case .dup:
            let names = try CallNames(taken.server, request, scratch)
            let opened = try scheme.duplicate(node, handle: handle, as: words.word0, kind: names.text, &context)
            return Outcome(value1: opened)
        case .fstat: return found(taken, try scheme.attributes(node, handle: handle, &context))
        case .fsize: return Outcome(result: Int64(clamping: try scheme.attributes(node, handle: handle, &context).size))
        case .fstatvfs: return reply(taken, try scheme.figures(node, &context))
        case .getdents:
            let room = taken.server.replyRoom(request)
            var listing = DirectoryListing(room)
            try scheme.readDirectory(
                node, handle: handle, from: request.entry.offset, withAttributes: false, into: &listing, &context)
            return Outcome(result: Int64(listing.count), replyBytes: listing.count)
        case .ftruncate, .futimens, .fchmod, .fchown:
            var changes = AttributeChangeSet()
            switch request.opcode {
            case .ftruncate: changes.size = words.word0
            case .fchmod: changes.mode = UInt32(truncatingIfNeeded: words.word0)
            case .fchown:
                changes.uid = UInt32(truncatingIfNeeded: words.word0)
                changes.gid = UInt32(truncatingIfNeeded: words.word1)
            default:
                guard let times = self.changes(taken) else { throw .invalidArgument }
                changes.accessTime = times.accessTime
                changes.modificationTime = times.modificationTime
            }
            _ = try scheme.setAttributes(node, handle: handle, changes, &context)
            return Outcome()
        case .fevent:
            watch(taken, events: words.flags)
            return Outcome(result: Int64(try scheme.poll(node, handle: handle, events: words.flags, &context)))
        default: throw .noFunction
        }
    }
}
