/**
 * What ends a command: one line that says what is wrong and one that says what to do about it.
 *
 * Exit codes: 1 the daemon refused or cannot be reached, 2 the command line or a file is wrong.
 */
export class CliFailure extends Error {
  readonly exitCode: number
  readonly remedy: string | undefined

  constructor(message: string, remedy?: string, exitCode = 1) {
    super(message)
    this.remedy = remedy
    this.exitCode = exitCode
  }
}
