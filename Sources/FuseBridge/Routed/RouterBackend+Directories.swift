import Glibc
import Router
import SchemeProtocol
import SystemPackage

extension RouterBackend {
    // Positions: 0 the start, 1 behind ".", 2 behind "..", then the server's position + 2.
    private static let ownEntries: UInt64 = 2

    /// Lists a directory. "." and ".." are made here, the rest is the server's.
    public func readDirectory(
        _ request: FuseRequest, node: UInt64, handle: UInt64, from position: UInt64, byteCount: Int,
        withAttributes: Bool, _ body: (borrowing FuseDirectoryEntry) -> Bool
    ) throws(Errno) {
        let target = try target(node)
        if position < Self.ownEntries {
            let own = NodeAttributes(node: node, mode: S_IFDIR)
            for (index, name) in [[UInt8(ascii: ".")], [UInt8(ascii: "."), UInt8(ascii: ".")]].enumerated()
            where UInt64(index) >= position {
                let bytes = unsafe name.span.bytes
                guard body(FuseDirectoryEntry(name: bytes, attributes: own, next: UInt64(index) + 1)) else { return }
            }
        }
        let start = max(position, Self.ownEntries) - Self.ownEntries
        switch target {
        case .scheme(let route, let number):
            try list(request, route, number, handle, start, byteCount, withAttributes, body)
        case .root:
            let schemes = router.routes.filter { $0.index != 0 }
            let names = ["sys"] + schemes.map(\.description.name)
            let nodes =
                [UInt64(NodeNumbers.systemIndex) << 48 | SystemTree.number(.root)]
                + schemes.map { $0.numbers.kernel($0.description.rootNode) ?? 0 }
            // Attributes are the servers': the kernel asks when it wants them.
            listOwn(zip(names, nodes.map { NodeAttributes(node: $0, mode: S_IFDIR) }), start, withAttributes, body)
        case .system(let directory):
            guard let entries = system.entries(directory) else { throw .notDirectory }
            var list: [(String, NodeAttributes)] = []
            for entry in entries {
                list.append((entry.name, try ownAttributes(.system(entry.node), request)))
            }
            listOwn(list, start, false, body)
        }
    }

    private func listOwn(
        _ entries: some Sequence<(String, NodeAttributes)>, _ start: UInt64, _ withAttributes: Bool,
        _ body: (borrowing FuseDirectoryEntry) -> Bool
    ) {
        for (index, (name, attributes)) in entries.enumerated().dropFirst(Int(clamping: start)) {
            let utf8 = Array(name.utf8)
            let entry = unsafe FuseDirectoryEntry(
                name: utf8.span.bytes, attributes: attributes, next: UInt64(index) + 1 + Self.ownEntries,
                hasAttributes: false)
            guard body(entry) else { return }
        }
    }

    private func list(
        _ request: FuseRequest, _ route: SchemeRoute, _ node: UInt64, _ handle: UInt64, _ start: UInt64,
        _ byteCount: Int, _ withAttributes: Bool, _ body: (borrowing FuseDirectoryEntry) -> Bool
    ) throws(Errno) {
        // An entry of ours is shorter than the kernel's by 16 bytes with attributes, equal without: little is listed twice.
        let call = call(
            .readdir, request, node, handle: handle, offset: start, RequestArguments(flags: withAttributes ? 1 : 0),
            replyBytes: max(1024, withAttributes ? byteCount / 10 * 9 : byteCount))
        let numbers = route.numbers
        try route.perform(call) { answer throws(Errno) in
            var place = 0
            while let (record, name) = DirectoryRecord.next(in: answer.reply, at: &place) {
                guard let number = numbers.kernel(record.node) else { throw .ioError }
                var attributes = record.attributes ?? NodeAttributes(node: number, mode: UInt32(record.kind) << 12)
                attributes.node = number
                let entry = FuseDirectoryEntry(
                    name: answer.reply.extracting(name), attributes: attributes,
                    next: record.nextPosition &+ Self.ownEntries, hasAttributes: record.attributes != nil)
                guard body(entry) else { return }
            }
        }
    }
}
