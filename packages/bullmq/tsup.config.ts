import { publishedPackage } from '../../tsup.base'

export default publishedPackage()
