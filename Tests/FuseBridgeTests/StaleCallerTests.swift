import Glibc
import Router
import SchemeProtocol
import SystemPackage
import Testing

@testable import FuseBridge

/// Linux looks a name up a second time when the node is gone that it found first, and no more: what it finds then is there when it is
/// asked for, however often the name was replaced.
@Suite struct StaleCallerTests {
    /// The calls of some threads, without the kernel between.
    private final class Callers {
        let system: LocalSystem
        private var unique: UInt64 = 100

        init() throws { system = try LocalSystem() }

        private func call<Result>(_ thread: UInt32, _ body: (FuseRequest) throws -> Result) rethrows -> Result {
            unique += 2
            let request = FuseRequest(
                unique: unique, process: thread, time: WireTime(seconds: 1_700_000_001, nanoseconds: 0))
            defer { system.backend.didReply(request) }
            return try body(request)
        }

        func look(_ thread: UInt32, _ name: String) throws -> UInt64 {
            let bytes = Array(name.utf8)
            return try call(thread) { request in
                try unsafe system.backend.lookup(request, parent: NodeNumbers.root, name: bytes.span.bytes).node
            }
        }

        /// Puts another file in the place of what has a name, for good.
        func replace(_ name: String) throws {
            let (new, old) = (Array("new".utf8), Array(name.utf8))
            let (node, file) = try call(1) { request in
                try unsafe system.backend.create(
                    request, parent: NodeNumbers.root, name: new.span.bytes, mode: 0o644,
                    flags: UInt32(O_RDWR | O_CREAT | O_EXCL))
            }
            call(1) { system.backend.release($0, node: node.node, handle: file.handle, flags: 0) }
            try call(1) { request in
                try unsafe system.backend.rename(
                    request, parent: NodeNumbers.root, name: new.span.bytes, newParent: NodeNumbers.root,
                    newName: old.span.bytes, flags: 0)
            }
            // Until then a file that lost its name can be opened anyway.
            system.route.commit()
        }

        func open(_ thread: UInt32, _ node: UInt64) throws -> UInt64 {
            try call(thread) { request in
                try system.backend.open(request, node: node, flags: UInt32(O_RDONLY), clearsPrivileges: false).handle
            }
        }

        func release(_ thread: UInt32, _ node: UInt64, _ handle: UInt64) {
            call(thread) { system.backend.release($0, node: node, handle: handle, flags: 0) }
        }

        func isThere(_ node: UInt64) -> Bool {
            call(1) { request in (try? system.backend.attributes(request, node: node, handle: nil)) != nil }
        }
    }

    @Test(arguments: [false, true]) func theSecondLookIsGood(serverDies: Bool) throws {
        let callers = try Callers()
        try callers.replace("file")
        let first = try callers.look(7, "file")
        try callers.replace("file")
        #expect(throws: Errno.staleNFSFileHandle) { try callers.open(7, first) }
        // 8 wasn't told: what it finds isn't kept.
        let second = try callers.look(8, "file")
        try callers.replace("file")
        #expect(throws: Errno.staleNFSFileHandle) { try callers.open(8, second) }

        let third = try callers.look(7, "file")
        try callers.replace("file")
        if serverDies { #expect(try callers.system.restartServer()?.mismatches.isEmpty == true) }
        let handle = try callers.open(7, third)
        // Nothing is kept for it any more: with its own handle the file goes.
        callers.release(7, third, handle)
        callers.system.route.commit()
        #expect(!callers.isThere(third))
        try callers.system.end()
    }

    /// A file that is kept for a thread that doesn't come back.
    private func forgottenFile(_ callers: Callers) throws -> UInt64 {
        try callers.replace("file")
        let first = try callers.look(7, "file")
        try callers.replace("file")
        #expect(throws: Errno.staleNFSFileHandle) { try callers.open(7, first) }
        let second = try callers.look(7, "file")
        try callers.replace("file")
        #expect(callers.isThere(second))
        return second
    }

    /// Whoever doesn't come back leaves nothing behind.
    @Test func whatNobodyAsksForIsLetGo() throws {
        let callers = try Callers()
        let file = try forgottenFile(callers)
        while callers.isThere(file) {
            callers.system.router.tend()
            usleep(100_000)
        }
        try callers.system.end()
    }

    /// Also not when the mount ends.
    @Test func theEndOfTheMountLetsGo() throws {
        let callers = try Callers()
        let file = try forgottenFile(callers)
        callers.system.route.closeAllKept()
        #expect(!callers.isThere(file))
        try callers.system.end()
    }
}
