/// Prints the wire protocol as a C header, with `--python` as a Python module, with `--opcodes` the table of opcodes as a page of
/// the documentation. `Scripts/make-header` puts them where they belong.
@main
struct Main {
    static func main() {
        let text =
            switch CommandLine.arguments.dropFirst().first {
            case "--opcodes": OpcodeList.text
            case "--python": ProtocolHeader.python
            default: ProtocolHeader.text
            }
        print(text, terminator: "")
    }
}
