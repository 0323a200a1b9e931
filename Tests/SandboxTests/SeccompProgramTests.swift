import CLinux
import Glibc
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

    /// What the kernel makes of a call by a program: the instructions as `struct sock_filter`, the call as `struct seccomp_data`.
    private func verdict(_ program: SeccompProgram, _ number: Int32, _ arguments: [UInt32]) -> UInt32? {
        #if arch(x86_64)
            let architecture: UInt32 = 0xC000_003E
        #else
            let architecture: UInt32 = 0xC000_00B7
        #endif
        var accumulator: UInt32 = 0
        var place = 0
        while place < program.instructions.count {
            let instruction = program.instructions[place]
            let value = UInt32(truncatingIfNeeded: instruction >> 32)
            place += 1
            switch instruction & 0xFFFF {
            case 0x20:
                switch value {
                case 0: accumulator = UInt32(bitPattern: number)
                case 4: accumulator = architecture
                default: accumulator = arguments[(Int(value) - 16) / 8]
                }
            case 0x54: accumulator &= value
            case 0x15: place += Int(accumulator == value ? instruction >> 16 & 0xFF : instruction >> 24 & 0xFF)
            case 0x35: place += Int(accumulator >= value ? instruction >> 16 & 0xFF : instruction >> 24 & 0xFF)
            case 0x06: return value
            default: return nil
            }
        }
        return nil
    }

    /// Who has a raw socket can't write the headers of its packets himself; other options stay.
    @Test func headersAreTheKernels() {
        let program = SeccompProgram(allowing: [.base, .network])
        let refused = UInt32(0x0005_0000) | UInt32(EPERM)
        let allowed: UInt32 = 0x7FFF_0000
        #expect(verdict(program, SYS_setsockopt, [5, 0, 3, 0, 0, 0]) == refused)
        #expect(verdict(program, SYS_setsockopt, [5, 41, 36, 0, 0, 0]) == refused)
        for (level, name) in [(6, 3), (0, 2), (0, 36), (41, 3), (41, 16), (1, 9)] as [(UInt32, UInt32)] {
            #expect(verdict(program, SYS_setsockopt, [5, level, name, 0, 0, 0]) == allowed, "\(level) \(name)")
        }
        #expect(verdict(program, SYS_getsockopt, [5, 0, 3, 0, 0, 0]) == allowed)
        #expect(verdict(program, SYS_write, [5, 0, 3, 0, 0, 0]) == allowed)
        #expect(verdict(program, SYS_openat, [5, 0, 3, 0, 0, 0]) == refused)
        #expect(verdict(SeccompProgram(allowing: .base), SYS_setsockopt, [5, 6, 3, 0, 0, 0]) == refused)
    }
}
