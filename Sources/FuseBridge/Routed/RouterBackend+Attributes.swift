import Router
import SchemeProtocol
import SystemPackage

// Every node has attributes `user.saltbridge.*` that can be read and aren't listed (a copy must not carry them away): scheme, node,
// generation, incarnation, restarts.

extension RouterBackend {
    private static let prefix = Array("user.saltbridge.".utf8)
    private static let valueLimit = ProtocolLimits.maximumAttributeValueBytes

    /// An extended attribute's value.
    public func extendedAttribute(
        _ request: FuseRequest, node: UInt64, name: RawSpan, limit: Int, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        let target = try target(node)
        if let own = ownName(name) {
            let value = Array(try ownValue(own, target, request).utf8)
            return unsafe value.withUnsafeBytes { unsafe reply($0) }
        }
        guard case .scheme(let route, let number) = target else { throw .noData }
        if isCapability(name), route.isKnownIncapable(number) { throw .noData }
        let room = limit == 0 ? Self.valueLimit : min(limit, Self.valueLimit)
        let call = call(.getxattr, request, number, payloadBytes: name.byteCount, replyBytes: room)
        do throws(Errno) {
            try lookingAgain(request, route) { () throws(Errno) in
                try route.perform(
                    call,
                    {
                        put(name, at: 0, into: &$0); return name.byteCount
                    }
                ) { answer in
                    unsafe answer.reply.withUnsafeBytes { unsafe reply($0) }
                }
            }
        } catch {
            // The kernel asks before it lets in whoever isn't the owner, and takes this answer alone for "by the mode".
            throw isAccessList(name) && (error == .notSupported || error == .noFunction) ? .noData : error
        }
    }

    private func isAccessList(_ name: RawSpan) -> Bool {
        unsafe name.withUnsafeBytes { unsafe $0.starts(with: "system.posix_acl_".utf8) }
    }

    private func isCapability(_ name: RawSpan) -> Bool {
        unsafe name.withUnsafeBytes { unsafe $0.elementsEqual("security.capability".utf8) }
    }

    private func ownName(_ name: RawSpan) -> String? {
        guard name.byteCount > Self.prefix.count else { return nil }
        return unsafe name.withUnsafeBytes { bytes in
            guard unsafe bytes.starts(with: Self.prefix) else { return nil }
            return unsafe String(decoding: bytes.dropFirst(Self.prefix.count), as: UTF8.self)
        }
    }

    private func ownValue(_ name: String, _ target: Target, _ request: FuseRequest) throws(Errno) -> String {
        guard case .scheme(let route, let number) = target else {
            if name == "scheme" { return "sys" }
            throw .noData
        }
        switch name {
        case "scheme": return route.description.name
        case "node": return String(number)
        case "incarnation": return String(route.channel.server.incarnation)
        case "restarts": return String(max(0, route.timeline.count - 1))
        case "generation":
            return try route.perform(call(.getattr, request, number)) { answer throws(Errno) in
                String(try attributes(answer, route).generation)
            }
        default: throw .noData
        }
    }

    /// Sets an extended attribute.
    public func setExtendedAttribute(
        _ request: FuseRequest, node: UInt64, name: RawSpan, value: RawSpan, flags: UInt32, clearsGroupPrivilege: Bool
    ) throws(Errno) {
        guard ownName(name) == nil else { throw .notPermitted }
        let (route, number) = try writable(node)
        let count = name.byteCount + value.byteCount
        let arguments = RequestArguments(flags: flags, word1: UInt64(name.byteCount))
        let call = call(
            .setxattr, request, number, arguments, flags: clearsGroupPrivilege ? .killPrivileges : [],
            payloadBytes: count)
        try lookingAgain(request, route) { () throws(Errno) in
            try route.perform(call) { payload in
                put(name, at: 0, into: &payload)
                put(value, at: name.byteCount, into: &payload)
                return count
            } _: { _ in
            }
        }
    }

    /// The names of the extended attributes.
    public func listExtendedAttributes(
        _ request: FuseRequest, node: UInt64, limit: Int, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        guard case .scheme(let route, let number) = try target(node) else {
            return unsafe reply(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        let room = limit == 0 ? Self.valueLimit : min(limit, Self.valueLimit)
        try lookingAgain(request, route) { () throws(Errno) in
            try route.perform(call(.listxattr, request, number, replyBytes: room)) { answer in
                unsafe answer.reply.withUnsafeBytes { unsafe reply($0) }
            }
        }
    }

    /// Removes an extended attribute.
    public func removeExtendedAttribute(_ request: FuseRequest, node: UInt64, name: RawSpan) throws(Errno) {
        guard ownName(name) == nil else { throw .notPermitted }
        let (route, number) = try writable(node)
        let call = call(.removexattr, request, number, payloadBytes: name.byteCount)
        try lookingAgain(request, route) { () throws(Errno) in
            try route.perform(
                call,
                {
                    put(name, at: 0, into: &$0); return name.byteCount
                }
            ) { _ in }
        }
    }
}
