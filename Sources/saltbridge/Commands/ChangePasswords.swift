import ArgumentParser
import ImageTools

struct ChangePasswords: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "passwd",
        abstract: "Add, change or remove a password of an encrypted image.",
        discussion: """
            Up to 64 passwords open an image. The one that is given (--password-file or the terminal) is changed or \
            removed, or vouches for one that is added. Older generations get the new passwords, too. The keys of the data \
            stay: whoever had a copy of the image and its old password can still read that copy.
            """)

    @OptionGroup var image: ImageOptions

    @Flag(help: "What to do.")
    var action: Action = .change

    @Option(
        help: ArgumentHelp("Read the new password from the first line of FILE.", valueName: "file"),
        completion: .file())
    var newPasswordFile: String?

    @OptionGroup var output: OutputOptions

    enum Action: String, EnumerableFlag {
        case add, change, remove
    }

    func validate() throws {
        if action == .remove, newPasswordFile != nil {
            throw ValidationError("--remove needs no --new-password-file: it removes the password that is given")
        }
        try Passwords.checkFiles(image.password.passwordFile, newPasswordFile)
    }

    func run() throws {
        let image = try image.locate(writable: true)
        let change = try PasswordChange(image.device, name: image.name)
        try change.requireEncryption()
        let password = try self.image.password.password(for: image) ?? []
        let wanted: PasswordChange.Action =
            switch action {
            case .add: .add(new: try newPassword(image))
            case .change: .change(new: try newPassword(image))
            case .remove: .remove
            }
        let count = try change.run(wanted, password: password)
        if output.json {
            Console.print(.object([("passwords", .integer(Int64(count)))]))
        } else {
            Console.print("\(image.name): \(count) password\(count == 1 ? "" : "s")")
        }
    }

    private func newPassword(_ image: OpenedImage) throws(ToolFailure) -> [UInt8] {
        try Passwords.new(file: newPasswordFile, for: image.name)
    }
}
