import Testing

@testable import Sandbox

@Suite struct SeccompProgramTests {
    @Test func namesOfGroupsRoundTrip() {
        let all: SystemCallSet = [.base, .channels, .storage, .network, .fuse, .files]
        #expect(SystemCallSet(text: all.text) == all)
        #expect(SystemCallSet(text: "base,storage") == [.base, .storage])
        #expect(SystemCallSet(text: "") == [])
        #expect(SystemCallSet(text: "base,unknown") == nil)
    }

    @Test func everyJumpStaysInTheProgram() {
        let sets: [SystemCallSet] = [.base, [.base, .channels, .storage, .network, .fuse, .files], []]
        for program in sets.map({ SeccompProgram(allowing: $0) }) + [.start] {
            let count = program.instructions.count
            #expect(count > 4 && count < 4096)
            for (index, instruction) in program.instructions.enumerated() where instruction & 0x07 == 0x05 {
                #expect(index + 1 + Int(instruction >> 16 & 0xFF) < count)
                #expect(index + 1 + Int(instruction >> 24 & 0xFF) < count)
            }
            // The last instruction returns.
            #expect((program.instructions.last ?? 0) & 0xFFFF == 0x06)
        }
    }

    @Test func noGroupAllowsWhatTheStartForbids() {
        let all: SystemCallSet = [.base, .channels, .storage, .network, .fuse, .files]
        let forbidden = Set(SeccompProgram.forbiddenNumbers.map { Int($0) })
        #expect(all.rules.allSatisfy { !forbidden.contains($0.number) })
    }
}
