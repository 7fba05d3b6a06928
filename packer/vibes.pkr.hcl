# One image per role: the newest official Debian, the packages of the role, our two programs and their units.
# `make ami` runs it; `make image` runs the same provisioning scripts in a directory.

variable "role" {
  type        = string
  description = "What the image is for: volmgr, worker or server."
}

# The default fits the instance types that are the defaults of cfn/main.yaml. It is the only place that says so.
variable "architecture" {
  type        = string
  default     = "x86_64"
  description = "Processor: x86_64 or arm64. The programs must be built for it."
}

variable "region" {
  type        = string
  description = "AWS region to make the image in."
}

variable "stack" {
  type        = string
  default     = "vibes"
  description = "Name of the installation that the image is for."
}

variable "subnet" {
  type        = string
  default     = ""
  description = "Public subnet for the instance that becomes the image; the account's default VPC without one."
}

variable "version" {
  type        = string
  description = "Version of vibes, as in Cargo.toml."
}

variable "programs" {
  type        = string
  description = "Directory that holds vibes-agent and vibes-compile, built for the processor."
}

variable "out" {
  type        = string
  description = "Directory for what the build tells: manifest.json and image.json."
}

locals {
  versions = {
    for line in split("\n", file("${path.root}/versions")) :
    split("=", line)[0] => split("=", line)[1] if length(split("=", line)) == 2
  }
  debian_architecture = var.architecture == "arm64" ? "arm64" : "amd64"
  instance_type       = var.architecture == "arm64" ? "t4g.small" : "t3.small"
  built               = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "vibes" {
  region                                    = var.region
  instance_type                             = local.instance_type
  subnet_id                                 = var.subnet
  associate_public_ip_address               = var.subnet == "" ? null : true
  ssh_username                              = "admin"
  ssh_clear_authorized_keys                 = true
  ami_name                                  = "${var.stack}-${var.role}-${local.debian_architecture}-${local.built}"
  ami_description                           = "vibes ${var.version}, ${var.role}, on Debian ${local.versions["debian"]}"
  imds_support                              = "v2.0" # not in packer 1.6
  temporary_security_group_source_public_ip = true   # not in packer 1.6
  metadata_options { http_tokens = "required" }      # not in packer 1.6

  source_ami_filter {
    filters = {
      name                = "debian-${local.versions["debian"]}-${local.debian_architecture}-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"] # Debian's own account, see wiki.debian.org/Cloud/AmazonEC2Image
    most_recent = true
  }

  # An image of an encrypted disk is encrypted.
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    encrypted             = true
    volume_size           = 8
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  tags = {
    "Name"               = "${var.stack} ${var.role} ${var.version}"
    "vibes:stack"        = var.stack
    "vibes:role"         = var.role
    "vibes:version"      = var.version
    "vibes:made"         = local.built
    "vibes:source-image" = "{{ .SourceAMI }}"
  }
  # What exists only while the image is made.
  run_tags = {
    "Name"        = "${var.stack} ${var.role}: making an image"
    "vibes:stack" = var.stack
  }
  run_volume_tags = {
    "vibes:stack" = var.stack
  }
}

build {
  sources = ["source.amazon-ebs.vibes"]

  provisioner "shell" {
    inline = ["mkdir /tmp/vibes /tmp/vibes/programs"]
  }
  provisioner "file" {
    sources     = ["${path.root}/versions", "${path.root}/rootfs"]
    destination = "/tmp/vibes/"
  }
  provisioner "file" {
    sources     = ["${var.programs}/vibes-agent", "${var.programs}/vibes-compile"]
    destination = "/tmp/vibes/programs/"
  }
  provisioner "shell" {
    execute_command = "sudo env VIBES_ROLE=${var.role} bash '{{ .Path }}'"
    scripts = [
      "${path.root}/provision/packages.sh",
      "${path.root}/provision/programs.sh",
      "${path.root}/provision/check.sh",
      "${path.root}/provision/compile.sh",
    ]
  }
  provisioner "file" {
    direction   = "download"
    source      = "/tmp/vibes/image.json"
    destination = "${var.out}/image.json"
  }

  post-processor "manifest" {
    output = "${var.out}/manifest.json"
  }
}
