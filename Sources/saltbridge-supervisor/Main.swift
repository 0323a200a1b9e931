import Supervisor

@main
enum Main {
    static func main() {
        SupervisorProgram.main()
    }
}
