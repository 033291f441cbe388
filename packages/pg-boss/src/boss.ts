/** What both pg-boss 10 and 12 take as a database, and give as theirs. */
export interface BossDatabase {
  // biome-ignore lint/suspicious/noExplicitAny: rows of any statement
  executeSql(text: string, values?: any[]): Promise<{ rows: any[] }>
}

/** What the adapter uses of a pg-boss, 10 or 12. */
export interface Boss {
  // biome-ignore lint/suspicious/noExplicitAny: the two versions' types have only their shape in common
  getDb(): any
  // biome-ignore lint/suspicious/noExplicitAny: as above
  complete(name: string, id: any, data?: any, options?: any): Promise<unknown>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  fail(name: string, id: any, data?: any, options?: any): Promise<unknown>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  offWork(name: any, options?: any): Promise<unknown>
}

/** A job as a worker gets it. */
// biome-ignore lint/suspicious/noExplicitAny: as pg-boss's own types have it
export interface BossJob<Data = any> {
  readonly id: string
  readonly name: string
  readonly data: Data
  readonly expireInSeconds: number
  /** Always there on 12; on 10 with `includeMetadata`. */
  readonly retryCount?: number
}
