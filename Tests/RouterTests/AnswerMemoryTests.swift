import SchemeProtocol
import Testing

@testable import Router

/// What a route answers without asking is what the server would say.
@Suite struct AnswerMemoryTests {
    private let directory: UInt64 = 2

    private func attributes(_ node: UInt64, mode: UInt32 = ModeBits.directory | 0o755, size: UInt64) -> NodeAttributes {
        NodeAttributes(node: node, mode: mode, size: size, attributesValid: 1_000_000_000)
    }

    private func bytes(_ attributes: NodeAttributes?, _ state: DirectoryState?) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: NodeAttributes.byteCount + DirectoryState.byteCount)
        var used = 0
        var span = bytes.mutableSpan
        var room = unsafe span.mutableBytes
        if let attributes, attributes.encode(into: &room) { used = NodeAttributes.byteCount }
        if let state {
            var rest = room._mutatingExtracting(droppingFirst: used)
            if state.encode(into: &rest) { used += DirectoryState.byteCount }
        }
        return Array(bytes.prefix(used))
    }

    private func ask(
        _ memory: inout AnswerMemory, _ opcode: Opcode, _ node: UInt64, word0: UInt64 = 0
    ) -> AnswerMemory.Ticket? {
        memory.begin(SubmissionEntry(opcode, node: node), RequestArguments(word0: word0))
    }

    private func answer(
        _ memory: inout AnswerMemory, _ ticket: AnswerMemory.Ticket?, _ attributes: NodeAttributes? = nil,
        _ state: DirectoryState? = nil, value0: UInt64 = 0
    ) throws {
        let reply = bytes(attributes, state)
        let span = reply.span
        memory.answered(try #require(ticket), unsafe span.bytes, value0: value0)
    }

    private func knowing(_ size: UInt64) throws -> AnswerMemory {
        var memory = AnswerMemory()
        let ticket = ask(&memory, .getattr, directory)
        try answer(&memory, ticket, attributes(directory, size: size))
        return memory
    }

    @Test func theDirectoryIsKnownAfterItWasAskedFor() throws {
        let memory = try knowing(7)
        #expect(memory.attributes(directory)?.size == 7)
        #expect(memory.attributes(directory + 1) == nil)
    }

    @Test func whatMayNotBeKeptIsNotKept() throws {
        var memory = AnswerMemory()
        var brief = attributes(directory, size: 1)
        brief.attributesValid = 1000
        try answer(&memory, ask(&memory, .getattr, directory), brief)
        #expect(memory.attributes(directory) == nil)
        try answer(&memory, ask(&memory, .getattr, 9), attributes(9, mode: ModeBits.regular, size: 1))
        #expect(memory.attributes(9) == nil)
    }

    @Test func aChangeBringsItUpToDate() throws {
        var memory = try knowing(1)
        let state = DirectoryState(attributes(directory, size: 2))
        let ticket = ask(&memory, .create, directory)
        #expect(memory.attributes(directory) == nil, "not while a change is under way")
        try answer(&memory, ticket, attributes(5, mode: ModeBits.regular, size: 0), state)
        #expect(memory.attributes(directory)?.size == 2)
        #expect(memory.hasNoCapability(5))
        try answer(&memory, ask(&memory, .unlink, directory), nil, DirectoryState(attributes(directory, size: 3)))
        #expect(memory.attributes(directory)?.size == 3)
    }

    @Test func aServerThatSaysNothingMakesItForget() throws {
        var memory = try knowing(1)
        try answer(&memory, ask(&memory, .mkdir, directory), attributes(6, size: 0))
        #expect(memory.attributes(directory) == nil)
    }

    @Test func changesAtOnceMakeItForget() throws {
        var memory = try knowing(1)
        let state = DirectoryState(attributes(directory, size: 2))
        let first = ask(&memory, .unlink, directory)
        let second = ask(&memory, .unlink, directory)
        try answer(&memory, second, nil, state, value0: 11)
        try answer(&memory, first, nil, state, value0: 12)
        #expect(memory.attributes(directory) == nil)
        #expect(!memory.isGone(11) && !memory.isGone(12))
    }

    @Test func anAnswerThatAChangeOvertookIsNotKept() throws {
        var memory = AnswerMemory()
        let question = ask(&memory, .getattr, directory)
        let change = ask(&memory, .setattr, directory)
        try answer(&memory, change)
        try answer(&memory, question, attributes(directory, size: 1))
        #expect(memory.attributes(directory) == nil)
    }

    @Test(arguments: [Opcode.setattr, .setxattr, .removexattr, .rename])
    func otherChangesMakeItForget(_ opcode: Opcode) throws {
        var memory = try knowing(1)
        try answer(&memory, ask(&memory, opcode, directory))
        #expect(memory.attributes(directory) == nil)
    }

    @Test func itMayBeTheDirectoryThatIsRemoved() throws {
        var memory = try knowing(1)
        try answer(&memory, ask(&memory, .rmdir, directory - 1))
        #expect(memory.attributes(directory) == nil)
    }

    @Test func aFailureChangesNothing() throws {
        var memory = try knowing(1)
        memory.failed(try #require(ask(&memory, .create, directory)), .fileExists)
        #expect(memory.attributes(directory)?.size == 1)
        memory.failed(try #require(ask(&memory, .create, directory)), .ioError)
        #expect(memory.attributes(directory) == nil, "it may have done half of it")
    }

    @Test func othersChangesKeepItClosed() throws {
        var memory = AnswerMemory(isOpen: false)
        let early = memory.begin(SubmissionEntry(.getattr, node: directory), RequestArguments()) { false }
        try answer(&memory, early, attributes(directory, size: 1))
        #expect(memory.attributes(directory) == nil)
        let change = memory.begin(SubmissionEntry(.create, node: directory), RequestArguments()) { false }
        let question = ask(&memory, .getattr, directory)
        try answer(&memory, question, attributes(directory, size: 1))
        #expect(memory.attributes(directory) == nil, "a change without a past is under way")
        memory.failed(try #require(change), .fileExists)
        try answer(&memory, ask(&memory, .getattr, directory), attributes(directory, size: 2))
        #expect(memory.attributes(directory)?.size == 2)
    }

    @Test func whatIsOnItsWayWhenAllIsForgottenIsNotKept() throws {
        var memory = AnswerMemory()
        let question = ask(&memory, .getattr, directory)
        memory.forget()
        try answer(&memory, question, attributes(directory, size: 1))
        #expect(memory.attributes(directory) == nil)
    }

    @Test func anotherNodesAttributesAreNotKept() throws {
        var memory = AnswerMemory()
        try answer(&memory, ask(&memory, .getattr, directory), attributes(9, size: 1))
        #expect(memory.attributes(directory) == nil && memory.attributes(9) == nil)
    }

    @Test func aNodeIsGoneUntilItsNumberMayBeGivenAgain() throws {
        var memory = try knowing(1)
        try answer(&memory, ask(&memory, .unlink, directory), nil, nil, value0: 5)
        #expect(memory.isGone(5))
        let ticket = ask(&memory, .mknod, directory)
        #expect(!memory.isGone(5))
        try answer(&memory, ticket, attributes(5, mode: ModeBits.regular, size: 0))
        #expect(!memory.isGone(5) && memory.hasNoCapability(5))
    }

    @Test func aNewFileHasNoCapabilityUntilAnAttributeIsSet() throws {
        var memory = AnswerMemory()
        try answer(&memory, ask(&memory, .create, directory), attributes(5, mode: ModeBits.regular, size: 0))
        #expect(memory.hasNoCapability(5))
        _ = ask(&memory, .setxattr, 5)
        #expect(!memory.hasNoCapability(5), "from the moment on when it is asked for")
    }
}
