auto_auth {
  method "approle" {
    config = {
      role_id_file_path = '/x'
    }
  }
}
================================================================
broken.hcl:4:27: is no value of this language; text has to be in double quotes
