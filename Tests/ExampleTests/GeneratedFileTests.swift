import Platform
import SystemPackage
import TestSupport
import Testing

/// What is derived from the opcode table is checked in as it is derived now; `Scripts/make-header` makes it again.
@Suite struct GeneratedFileTests {
    @Test(arguments: [
        ([], "Scripts/examples/c/saltbridge_protocol.h"),
        (["--python"], "Scripts/examples/python/saltbridge_protocol.py"),
        (["--opcodes"], "Sources/SchemeProtocol/SchemeProtocol.docc/Opcodes.md"),
    ])
    func isUpToDate(arguments: [String], path: String) throws {
        let folder = try TemporaryDirectory()
        let own = FilePath(try SystemCall.readLink("/proc/self/exe"))
        let program = BuiltProgram(path: own.removingLastComponent().appending("protocol-header").string)
        let made = try program.run(arguments, in: folder)
        #expect(made.status == 0)
        #expect(try Checkout.text(path) == made.text, "run Scripts/make-header")
    }

    @Test(.enabled(if: HostProgram.compiler != nil, "there is no C compiler"), arguments: ["c11", "gnu17"])
    func headerCompilesByItself(standard: String) throws {
        let folder = try TemporaryDirectory()
        let compiler = BuiltProgram(path: try #require(HostProgram.compiler))
        let result = try compiler.run(
            [
                "-std=\(standard)", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-x", "c",
                Checkout.examples.appending("c/saltbridge_protocol.h").string,
            ], in: folder)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test(.enabled(if: HostProgram.compiler != nil, "there is no C compiler"))
    func exampleCompilesWithoutWarnings() throws {
        _ = try ExampleScheme.compile(into: try TemporaryDirectory())
    }
}
