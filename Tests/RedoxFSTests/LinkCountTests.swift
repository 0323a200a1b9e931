import DiskFormat
import TestSupport
import Testing

@testable import RedoxFS

/// How the names of nodes are counted.
@Suite struct LinkCountTests {
    /// The links of a directory are counted by what is in it: one bad node there must not hide all others.
    @Test func aBadNodeDoesNotHideItsDirectory() throws {
        let device = try GoldenImage.smallTree.device()
        // Node 25 of the image, /sizes/c3969, lies in block 301.
        let byte = try device.readBytes(at: 301 * 4096 + 9, count: 1)[0]
        try device.writeBytes(at: 301 * 4096 + 9, [byte ^ 4])
        let system = try FileSystem(opening: device)
        let directory = try system.lookup(.root, "sizes")
        #expect(directory.kind == .directory && directory.links == 1)
        #expect(try system.attributes(directory.node) == directory)
        #expect(try system.lookup(directory.node, "r1048583").size == 1_048_583)
        #expect(throws: FileSystemError.self) { _ = try system.lookup(directory.node, "c3969") }
    }

    /// A node has as many names as can be counted, and not one more.
    @Test func oneNameTooManyIsRefused() throws {
        let (_, system) = try Engine.make()
        var context = Engine.context
        let file = try system.create(.root, "file", &context).node
        // As if it had all names but one.
        try system.change(&context) { (state, _) throws(Fault) in
            let slot = try state.touchNode(file)
            try state.secure()
            state.applyPlan()
            state.blocks.change(slot) { NodeBlock.setLinks(&$0, .max - 1) }
        }
        let linked = try system.link(file, .root, "last", &context)
        #expect(linked.storedLinks == .max)
        #expect(throws: FileSystemError.tooManyLinks) { _ = try system.link(file, .root, "more", &context) }
        #expect(throws: FileSystemError.notFound) { _ = try system.lookup(.root, "more") }
        try system.unlink(.root, "last", &context)
        #expect(try system.link(file, .root, "more", &context).storedLinks == .max)
        #expect(system.brokenInvariant() == nil)
    }
}
